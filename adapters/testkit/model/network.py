"""A server in this process and the network to it, thread-safe, with faults as a network has them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapters.testkit.model.controls import ServerControls
from adapters.testkit.model.faults import DISCARD, GARBAGE, LOST, SLOW, TORN, Fault
from adapters.testkit.model.replies import AUTH, AUTH_TRIES, Reply
from adapters.testkit.model.requests import answer, call_name
from adapters.testkit.model.server import Connection, ServerModel
from application.ports import Runtime
from domain.errors import ConnectionLost, Unavailable


@dataclass(slots=True)
class Conditions:
    """How the network to the server is; may be changed at any time.

    ``up`` false: requests do not arrive. ``answers`` false: they arrive, but nothing comes back (one-way partition).
    ``delay`` gives the seconds that one direction takes.
    """

    up: bool = True
    answers: bool = True
    delay: Callable[[], float] = float


class MemoryNetwork:
    """One worker's way to a ServerModel. All bytes pass JSON and the codec; one lock guards the model."""

    def __init__(self, runtime: Runtime, model: ServerModel, guard: threading.RLock, token: str) -> None:
        self.runtime = runtime
        self.model = model
        self.guard = guard
        self.conditions = Conditions()
        self.token = token
        self._never = runtime.event()
        self._appending: set[str] = set()

    def request(self, method: str, path: str, query: dict[str, str], body: Any, timeout: float) -> Reply:
        """One HTTP exchange. Raises Unavailable, after ``timeout`` seconds where no answer comes."""
        if not path.endswith("/append/"):
            return self._exchange(method, path, query, body, timeout)
        with self.guard:
            if path in self._appending:  # the server's read and write of a log are not one step (protocol 6.5)
                self.model.note("append overlap", path.split("/")[2])
            self._appending.add(path)
        try:
            return self._exchange(method, path, query, body, timeout)
        finally:
            self._appending.discard(path)

    def _exchange(self, method: str, path: str, query: dict[str, str], body: Any, timeout: float) -> Reply:
        began = self.runtime.now()
        self._travel()
        if not self.conditions.up:
            self._wait_out(began, timeout)
        self._stand_in_line(method, path, query, body, began + timeout)
        with self.guard:
            fault = self.model.faults.next(call_name(path, query))
            reply = (
                None
                if fault and fault.kind not in (LOST, GARBAGE, SLOW, TORN)
                else self._answer(method, path, query, body, left=fault is not None and fault.kind == TORN)
            )
        if fault is not None:
            self._suffer(fault, began, timeout)
        self._travel()
        if not self.conditions.answers or self.runtime.now() - began > timeout:
            self._wait_out(began, timeout)
        assert reply is not None
        return reply[0], json.loads(json.dumps(reply[1]))

    def open(self, key: str, value: str, wake: Callable[[], None]) -> Connection:
        """Upgrade to the event stream. Raises ConnectionLost."""
        self._travel()
        if not self.conditions.up or not self.conditions.answers or self.model.frozen:
            self._never.wait(5.0)
            raise ConnectionLost("the server does not answer")
        with self.guard:
            fault = self.model.faults.next(call_name("/ws/task/", {"key": key}))
            if fault is not None and fault.kind not in (LOST, SLOW):
                raise ConnectionLost(f"the server refused the connection: {fault.status}")
            got = self.model.connect(key, value)
            if fault is not None and fault.kind == LOST and isinstance(got, Connection):
                self.model.disconnect(got)  # its lock is used up all the same
                raise ConnectionLost("the server closed the connection")
            if not isinstance(got, Connection):
                raise ConnectionLost(f"the server refused the connection: {got[0]}")
            got.wake = wake
            if got.send_queue:
                wake()
            return got

    def message(self, connection: Connection, data: bytes) -> None:
        """Send one message. What is lost on the way is lost silently, as on a real socket, and like there nothing
        holds a message back that the sender has let go, not even the sender's freezing."""
        if not self.conditions.up:
            return
        with self.guard:
            if not self.model.message(connection, data):
                raise ConnectionLost("the server closed the connection")

    def ping(self, connection: Connection) -> bool:
        """Ask for a sign of life; True if one comes back."""
        self._travel()
        if not self.conditions.up or not self.conditions.answers:
            return False
        with self.guard:
            if not connection.open:
                raise ConnectionLost("the server closed the connection")
            return self.model.ping(connection)

    def take(self, connection: Connection) -> bytes:
        """The next message from the server, empty if there is none."""
        with self.guard:
            if not self.conditions.up or not self.conditions.answers:
                return b""  # the server's closing does not come through either
            if not connection.open:
                raise ConnectionLost("the server closed the connection")
            if not connection.send_queue:
                return b""
            return connection.send_queue.popleft()

    def hang_up(self, connection: Connection) -> None:
        """Close. Through a cut way the server hears nothing of it and keeps a half-open connection (protocol 2.10)."""
        if not self.conditions.up:
            return
        with self.guard:
            self.model.disconnect(connection)

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any, left: bool = False) -> Reply:
        sent = json.loads(json.dumps(body)) if body is not None else None
        return answer(self.model, method, path, query, sent, f"Bearer {self.token}", left)

    def _stand_in_line(self, method: str, path: str, query: dict[str, str], body: Any, until: float) -> None:
        """Wait while the server is frozen or asks its auth service in vain. Who leaves has left the request there."""
        while self.model.frozen and self.runtime.now() < until:
            self._never.wait(min(0.05, until - self.runtime.now()))
        with self.guard:
            if self.model.frozen:
                self.model.abandoned.append(lambda: self._answer(method, path, query, body, left=True))
                raise Unavailable("no answer in time")
        if AUTH in self.model.away:
            self._never.wait(max(0.0, min(AUTH_TRIES, until - self.runtime.now())))

    def _travel(self) -> None:
        if delay := self.conditions.delay():
            self._never.wait(delay)

    def _suffer(self, fault: Fault, began: float, timeout: float) -> None:
        if fault.delay:
            self._never.wait(min(fault.delay, timeout))
        if fault.kind in (LOST, DISCARD, TORN):
            self._wait_out(began, timeout)
        if fault.kind != SLOW:
            raise Unavailable(f"the server answered {fault.status}")

    def _wait_out(self, began: float, timeout: float) -> None:
        self._never.wait(max(0.0, timeout - (self.runtime.now() - began)))
        raise Unavailable("no answer in time")


class MemoryServer(ServerControls):
    """A ServerModel that lives: its clock is the runtime's, its broadcasts go out by themselves.

    For tests and for programs that embed a worker. ``start`` and ``close`` bracket its life.
    """

    def __init__(self, runtime: Runtime, token: str = "memory") -> None:
        super().__init__(runtime, token)
        self._closing = runtime.event()
        self._changed = runtime.event()
        self._thread: Any = None

    def start(self) -> None:
        self._thread = self.runtime.start("memory-server", self._live)

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def network(self, runtime: Runtime | None = None) -> MemoryNetwork:
        """A new network to this server, for one worker."""
        return MemoryNetwork(runtime or self.runtime, self.model, self.guard, self.model.token)

    def _live(self) -> None:
        while not self._closing.wait(0.05):
            with self.guard:
                self.model.tick()
