"""The API server whole: its event stream and its HTTP side as one Server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from adapters.apiserver.approvals import HttpApprovals
from adapters.apiserver.claims import HttpClaims
from adapters.apiserver.client import Client
from adapters.apiserver.locks import HttpLocks
from adapters.apiserver.outcomes import StreamOutcomes, Teller
from adapters.apiserver.records import HttpRecords
from adapters.apiserver.task_logs import HttpTaskLogs
from adapters.apiserver.tasks import HttpTasks
from application.ports import LinkTimes, Server, Stream


class EventStream(Stream, Teller, Protocol):
    """A stream that carries updates too."""


def server_over(
    client: Client,
    stream: EventStream,
    now: Callable[[], float],
    times: LinkTimes | None = None,
    secrets: Callable[[], tuple[str, ...]] = tuple,
) -> Server:
    """``now`` is a clock in seconds that never jumps; ``secrets`` tells the API key as it is now."""
    tasks, records = HttpTasks(client), HttpRecords(client)
    return Server(
        name="apiserver",
        stream=stream,
        claims=HttpClaims(HttpLocks(client), tasks),
        outcomes=StreamOutcomes(stream),
        read_back=tasks,
        logs=HttpTaskLogs(client, now),
        credentials=records,
        approvals=HttpApprovals(client),
        scripts=records,
        times=times or LinkTimes(),
        secrets=secrets,
        abandon=client.close,
    )
