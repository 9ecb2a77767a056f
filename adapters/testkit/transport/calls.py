"""Every call of a port under test: on the right thread, in limited time, and with the errors that the port names."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

from adapters.testkit.promises import LIMIT, broken
from application.ports import Server
from domain.errors import (
    ConnectionLost,
    ConnectionRefused,
    CoordinationError,
    JournalError,
    NotFound,
    Refused,
    Unavailable,
)

Part = TypeVar("Part")
Errors = tuple[type[Exception], ...]

REQUEST: Errors = (NotFound, Unavailable, Refused)
NAMED: dict[str, Errors] = {
    "Stream.connect": (ConnectionLost, ConnectionRefused, CoordinationError),
    "Stream.receive": (ConnectionLost,),
    "Stream.decline": (ConnectionLost,),
    "Stream.announce": (ConnectionLost,),
    "Stream.ping": (ConnectionLost,),
    "Claims.claim": REQUEST,
    "Claims.extend": (Unavailable,),
    "Claims.settle": (Unavailable,),
    "Outcomes.running": (ConnectionLost,),
    "Outcomes.publish": (ConnectionLost,),
    "Outcomes.progress": (ConnectionLost,),
    "Outcomes.hand_back": (ConnectionLost,),
    "ReadBack.fetch": REQUEST,
    "ReadBack.of_worker": REQUEST,
    "TaskLogs.append": (*REQUEST, JournalError),
    "CredentialSource.credential": (CoordinationError,),
    "Approvals.create_approval": (CoordinationError,),
    "Approvals.cancel_approval": (Unavailable, Refused),
    "Approvals.pending_approvals": (Unavailable,),
    "CategoryScripts.category": REQUEST,
}
LINK_THREAD = ("Stream.connect", "Stream.receive")


class Calls:
    """Makes calls: those of the link on one thread of its own, as the worker does, each other one on a fresh thread, so
    that "any thread" is true. Fails the test where one takes longer than ``limit`` seconds (a ``receive``: beyond its
    own time-out), or raises what its port does not name."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.limit = limit
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._link = threading.Thread(target=self._serve, name="contract-link", daemon=True)
        self._link.start()

    def make(self, name: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call ``method``, which the port calls ``name``."""
        done = threading.Event()
        found: list[Any] = []
        raised: list[BaseException] = []

        def call() -> None:
            try:
                found.append(method(*args, **named))
            except BaseException as error:  # noqa: BLE001 - judged by the test's own thread
                raised.append(error)
            done.set()

        if name in LINK_THREAD:
            self._work.put(call)
        else:
            threading.Thread(target=call, name="contract-call", daemon=True).start()
        own = float(args[1]) if name == "Stream.receive" else 0.0
        if not done.wait(own + self.limit):
            late = f"within {self.limit:g} s" + (" of its time-out" if own else "")
            broken(f"{name} returns {late}", "it did not")
        if raised:
            _judge(name, raised[0])
            raise raised[0]
        return found[0]

    def end(self) -> None:
        self._work.put(None)
        self._link.join(self.limit)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _judge(name: str, error: BaseException) -> None:
    named = NAMED.get(name, ())
    if not isinstance(error, named):
        words = " or ".join(kind.__name__ for kind in named) or "nothing"
        broken(f"{name} raises {words}", f"it raised {error!r}")


def judged(server: Server, calls: Calls) -> Server:
    """The same server, each of its calls made by ``calls``."""

    def part(name: str, found: Part) -> Part:
        return cast(Part, _Judged(name, found, calls))

    return replace(
        server,
        stream=part("Stream", server.stream),
        claims=part("Claims", server.claims),
        outcomes=part("Outcomes", server.outcomes),
        read_back=part("ReadBack", server.read_back) if server.read_back is not None else None,
        logs=part("TaskLogs", server.logs) if server.logs is not None else None,
        credentials=part("CredentialSource", server.credentials),
        approvals=part("Approvals", server.approvals),
        scripts=part("CategoryScripts", server.scripts),
        abandon=lambda: calls.make("Server.abandon", server.abandon),
    )


class _Judged:
    def __init__(self, name: str, part: object, calls: Calls) -> None:
        self._name = name
        self._part = part
        self._calls = calls

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._part, attribute)
        if not callable(found):
            return found
        return lambda *args, **named: self._calls.make(f"{self._name}.{attribute}", found, *args, **named)
