"""Where an adapter meets the core: whatever else it raises becomes one of our errors, so that none can end the worker.

A bug of a transport costs what a failure of its network would cost: another try. It is told once for each place, with
the adapter's name, as the defect that it is.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from application.ports import Server
from domain.errors import ConnectionLost, CoordinationError, JournalError, TransportError, Unavailable, WorkerError

log = logging.getLogger("worker.border")

Part = TypeVar("Part")
STREAM = (TransportError, CoordinationError)  # what the stream's port names
REQUESTS = (CoordinationError, JournalError)  # what the others name; JournalError is our own spool's


def guarded(server: Server, redact: Callable[[str], str]) -> Server:
    """The same server behind the border. ``redact`` takes secrets out of what its errors say."""

    def behind(part: Part, error: type[WorkerError], passed: tuple[type[WorkerError], ...]) -> Part:
        return cast(Part, _Border(part, server.name, error, passed, redact))

    return replace(
        server,
        stream=behind(server.stream, ConnectionLost, STREAM),
        outcomes=behind(server.outcomes, ConnectionLost, (TransportError,)),
        claims=behind(server.claims, Unavailable, REQUESTS),
        read_back=behind(server.read_back, Unavailable, REQUESTS) if server.read_back is not None else None,
        logs=behind(server.logs, Unavailable, REQUESTS) if server.logs is not None else None,
        credentials=behind(server.credentials, Unavailable, REQUESTS),
        approvals=behind(server.approvals, Unavailable, REQUESTS),
        scripts=behind(server.scripts, Unavailable, REQUESTS),
    )


class _Border:
    """Stands for ``part``; each of its methods raises ``passed`` errors as they are and ``error`` for any other."""

    def __init__(
        self,
        part: object,
        name: str,
        error: type[WorkerError],
        passed: tuple[type[WorkerError], ...],
        redact: Callable[[str], str],
    ) -> None:
        self._part = part
        self._name = name
        self._error = error
        self._passed = passed
        self._redact = redact
        self._told: set[tuple[str, type[BaseException]]] = set()

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._part, attribute)
        if not callable(found):
            return found
        call = functools.partial(self._call, attribute, found)
        self.__dict__[attribute] = call  # the next time nobody asks
        return call

    def _call(self, attribute: str, method: Callable[..., object], *args: object, **named: object) -> object:
        try:
            return method(*args, **named)
        except self._passed:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - anything may come out of somebody else's adapter
            text = self._redact(f"{type(error).__name__}: {error}")
            if (attribute, type(error)) not in self._told:
                self._told.add((attribute, type(error)))
                log.error("a defect of the transport %s: %s raised %s", self._name, attribute, text)
            raise self._error(f"{self._name}: {text}") from None
