"""A model of the API server without I/O: what it stores, what it sends, what it silently drops.

Not thread-safe by itself: whoever puts it on a network or between threads holds one lock around every call.
Times come from ``clock`` (seconds since 1970). Replies are (HTTP status, JSON document).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adapters.testkit.model import approvals, events
from adapters.testkit.model.faults import SLOW, Faults
from adapters.testkit.model.history import History, Record
from adapters.testkit.model.locks import LockTable
from adapters.testkit.model.replies import BAD, DATABASE, NOT_FOUND, REDIS, Reply, ok
from adapters.testkit.model.splitter import ServerSplitter
from adapters.testkit.model.tasks import (
    Row,
    may_cancel,
    new_task,
    on_the_wire,
    stamp,
)
from adapters.testkit.model.timeouts import LAG, TimeoutCheck
from adapters.wire.framing import SEPARATOR

MESSAGE_LIMIT = 10_240
QUEUE_LIMIT = 100
BATCH = 5
DISPATCH_EVERY = 3.0
DISPATCH_LIMIT = 50
PING_DEADLINE = 60.0


@dataclass(eq=False)
class Connection:
    """One worker's end of the event stream, as the server keeps it. ``send_queue`` holds framed messages for it."""

    number: int
    worker_id: str = ""
    name: str = ""
    tasks: tuple[str, ...] = ()
    open: bool = True
    deadline: float = float("inf")  # by the model's clock; only pings extend it, from the first one on
    splitter: ServerSplitter = field(default_factory=ServerSplitter)
    send_queue: deque[bytes] = field(default_factory=deque)
    unread: list[bytes] = field(default_factory=list)  # messages that came while the server was frozen
    wake: Callable[[], None] = lambda: None


class ServerModel:
    def __init__(self, clock: Callable[[], float], token: str) -> None:
        self.clock = clock
        self.token = token
        self.tasks: dict[str, Row] = {}
        self.workers: dict[str, Row] = {}
        self.logs: dict[str, str] = {}  # the files
        self.log_sizes: dict[str, int] = {}  # the rows
        self.categories: dict[str, Row] = {}
        self.credentials: dict[str, Row] = {}
        self.approvals: dict[str, Row] = {}
        self.locks = LockTable(clock)
        self.connections: list[Connection] = []
        self.history = History()
        self.faults = Faults()
        self.ping_deadline = PING_DEADLINE
        self.away: set[str] = set()  # of replies.DATABASE, REDIS, AUTH
        self.frozen = False
        self.abandoned: list[Callable[[], object]] = []  # requests to a frozen server whose clients have left
        self.redispatches = False  # another kind of server: a running task without a lock is offered again
        self.check_takes = LAG  # seconds from the list of tasks that nobody has started to their end
        self._numbers = 0
        self._dispatch_at = clock() + DISPATCH_EVERY
        self._timeouts = TimeoutCheck(clock())
        self._expiry_at = clock() + approvals.EXPIRY_EVERY

    # -- what tests and people do ------------------------------------------------------------------------------------

    def add_task(self, **fields: Any) -> str:
        row = new_task(self.clock(), **fields)
        self.tasks[row["id"]] = row
        self._note("created", row["id"])
        return str(row["id"])

    def stop(self, task_id: str, force: bool = False) -> Reply:
        """``POST /task/{id}/stop/``: targeted at one connection of the task's worker; changes nothing itself."""
        row = self.tasks.get(task_id)
        if row is None or row["deleted"]:
            return NOT_FOUND
        if row["status"] != "running" or not row.get("worker_id"):
            return BAD
        targets = [it for it in self.connections if it.open and it.worker_id == row["worker_id"]]
        if not targets:
            return 503, {"code": 503, "message": "no such worker"}
        self._push(targets[-1], "kill" if force else "stop", [row])
        data = {"action": "stop", "force": force, "task_id": task_id, "worker_id": row["worker_id"]}
        return 200, ok(data | {"message": "任务停止指令已发送", "sent_at": stamp(self.clock())})

    def cancel(self, task_id: str) -> Reply:
        """``POST /task/{id}/cancel/``: refused while a worker holds the task's lock; the worker is not told."""
        row = self.tasks.get(task_id)
        if row is None or row["deleted"]:
            return NOT_FOUND
        if self.locks.holder(f"task:lock:{task_id}") or not may_cancel(row, self.clock()):
            return BAD
        self.end(task_id, "canceled")
        return 200, ok(on_the_wire(row))

    def end(self, task_id: str, status: str) -> None:
        """The server itself ends a task (cancel, workflow cancel, approval)."""
        row = self.tasks[task_id]
        row |= {"status": status, "time_end": stamp(self.clock())}
        self._note("ended by server", task_id, detail={"status": status})

    def thaw(self) -> None:
        """Go on after ``frozen``: with what was asked by clients that are gone, and with what came on the streams."""
        self.frozen = False
        asked, self.abandoned = self.abandoned, []
        for request in asked:
            request()
        for connection in list(self.connections):
            unread, connection.unread = connection.unread, []
            for data in unread:
                self.message(connection, data)

    # -- the event stream ----------------------------------------------------------------------------------------------

    def connect(self, key: str, value: str) -> Connection | Reply:
        """The upgrade request: the lock is consumed; a first batch of pending tasks is queued at once."""
        if not key or not value:
            return 400, {"code": 400, "message": "缺少锁验证参数：key和value是必需的"}
        if not key.startswith("/ws/"):
            return 400, {"code": 400, "message": "key"}
        if REDIS in self.away or not self.locks.release(key, value):
            message = "锁验证失败：failed to release lock: lock not owned by this instance or already released"
            return 403, {"code": 403, "message": message}
        self._numbers += 1
        connection = Connection(self._numbers)
        self.connections.append(connection)
        pending = self._pending()[:BATCH]
        if pending:
            self._push(connection, "run", pending)
        return connection

    def disconnect(self, connection: Connection) -> None:
        connection.open = False
        connection.send_queue.clear()
        if connection in self.connections:
            self.connections.remove(connection)

    def message(self, connection: Connection, data: bytes) -> bool:
        """One WebSocket message; False means that the server drops the connection."""
        if not connection.open:
            return False
        if self.frozen:
            connection.unread.append(data)
            return True
        self._note("message", worker=connection.worker_id, detail={"size": len(data), "ascii": data.isascii()})
        if len(data) > MESSAGE_LIMIT:
            self.disconnect(connection)
            return False
        for payload in connection.splitter.feed(data):
            events.handle(self, connection, payload)
        return connection.open

    def ping(self, connection: Connection) -> bool:
        """A ping frame; False means that no pong comes (a fault ``ping WORKER-ID``)."""
        if self.frozen:
            return False
        if row := self.workers.get(connection.worker_id):
            row |= {"is_active": True, "last_active": stamp(self.clock())}
        connection.deadline = self.clock() + self.ping_deadline
        self._note("ping", worker=connection.worker_id)
        fault = self.faults.next(f"ping {connection.worker_id}")
        return fault is None or fault.kind == SLOW

    def tick(self) -> None:
        """Do what is due: broadcast pending tasks, end those that waited too long, expire approvals."""
        if self.frozen:
            return
        now = self.clock()
        for connection in [it for it in self.connections if it.deadline < now]:
            self.disconnect(connection)
            connection.wake()
        if now >= self._dispatch_at:
            self._dispatch_at = now + DISPATCH_EVERY
            if self.redispatches:
                self._take_back()
            for row in self._pending()[:DISPATCH_LIMIT]:
                self._broadcast(row)
        self._timeouts.tick(self)
        if now >= self._expiry_at and DATABASE not in self.away:
            self._expiry_at = now + approvals.EXPIRY_EVERY
            approvals.expire(self)

    def _take_back(self) -> None:
        for row in self.tasks.values():
            if row["status"] == "running" and not self.locks.holder(f"task:lock:{row['id']}"):
                row["status"] = "pending"
                self._note("taken back", row["id"])

    def broadcast(self, task_id: str) -> None:
        """Send a pending task out now."""
        row = self.tasks[task_id]
        if row["status"] == "pending" and not self.frozen:
            self._broadcast(row)

    def health(self) -> Reply:
        """``GET /health``: who is connected (protocol 6.10)."""
        workers = {str(it.number): it.worker_id for it in self.connections if it.worker_id}
        if self.away & {DATABASE, REDIS}:
            return 503, {"status": "unhealthy", "components": {}}
        return 200, {"status": "healthy", "components": {"websocket": {"details": {"workers": workers}}}}

    def next_due(self) -> float:
        """When ``tick`` has something to do next, by the clock."""
        first = min((it.deadline for it in self.connections), default=self._dispatch_at)
        return min(self._dispatch_at, self._timeouts.due(), self._expiry_at, first)

    def _pending(self) -> list[Row]:
        now = stamp(self.clock())
        if DATABASE in self.away:
            return []
        return [
            row
            for row in self.tasks.values()
            if row["status"] == "pending" and row["time_plan"] <= now < row["timeout_at"] and not row["deleted"]
        ]

    def _broadcast(self, row: Row) -> None:
        chosen = (row["metadata"] or {}).get("worker_select") if isinstance(row["metadata"], dict) else None
        for connection in self.connections:
            if connection.worker_id and connection.tasks:
                if row["category"] not in connection.tasks:
                    continue
                if isinstance(chosen, list) and chosen and not {connection.name, connection.worker_id} & set(chosen):
                    continue
            self._push(connection, "run", [row])

    def _push(self, connection: Connection, action: str, rows: list[Row]) -> None:
        if len(connection.send_queue) >= QUEUE_LIMIT:
            self._note("dropped", worker=connection.worker_id)
            return
        text = json.dumps({"action": action, "tasks": [on_the_wire(row) for row in rows]}, ensure_ascii=False)
        connection.send_queue.append(SEPARATOR + text.encode() + SEPARATOR)
        for row in rows:
            self._note(f"sent {action}", row["id"], connection.worker_id)
        connection.wake()

    def _note(self, kind: str, task: str = "", worker: str = "", detail: dict[str, Any] | None = None) -> None:
        holder = self.locks.holder(f"task:lock:{task}") if task else ""
        self.history.add(Record(self.clock(), kind, task, worker, holder, detail or {}))

    def note(self, kind: str, task: str = "", worker: str = "", **detail: Any) -> None:
        """Add what only an onlooker knows, such as a process that starts or ends."""
        self._note(kind, task, worker, detail)
