"""Task logs on their way to the server: in order, one request under way per task, nothing twice (G37..G44)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.log_comparison import Others, compare
from application.ports import Batch, Ports
from domain.errors import CoordinationError, NotFound, Refused

log = logging.getLogger("worker.log_delivery")

BATCH = 64 * 1024  # bytes per append; the server rewrites the whole log each time, so few large ones are cheap
PAUSE = 1.0  # seconds between two appends of one running task
RETRY = (0.5, 1.0, 2.0, 5.0, 15.0)
SETTLE = 2.0  # seconds after trouble in which the server may still be about a request that was given up
PATIENCE = 5  # failures, or repairs of an ended log, until it is told


@dataclass(slots=True)
class Stream:
    """What is known of one task's log on the server."""

    torn: bool = True  # where the log is doubtful: not compared with the server's since
    failures: int = 0
    repairs: int = 0  # since the last failure, of a log that has ended
    next_at: float = 0.0
    hurry: bool = True  # once the task has ended, nobody waits for ``next_at``
    settled_at: float = 0.0
    others: Others | None = None
    busy: bool = False


class LogDelivery:
    """Several identical loops upload; a task is never in two of them at once.

    An append whose answer is missing may have been applied, or not, or may have destroyed what the log had (protocol
    6.5). Such a log is doubtful: before more is appended, and at its end, it is read, compared, and put right.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._guard = ports.runtime.lock()
        self._streams: dict[str, Stream] = {}

    def run(self, closing: Callable[[], bool], rest: float = 0.2) -> None:
        """The loop of one uploader; it looks every ``rest`` seconds while there is nothing to upload."""
        idle = self._ports.runtime.event()
        while not closing():
            if not self._upload_one():
                idle.wait(0.05 if self._ports.spool.pending() else rest)

    def _upload_one(self) -> bool:
        now = self._ports.runtime.now()
        pending = self._ports.spool.pending()
        with self._guard:
            # Kept while the task may write more: what others wrote before is not on the disk.
            for task_id in self._streams.keys() - set(pending):
                if not self._streams[task_id].busy and self._ports.spool.drained(task_id):
                    del self._streams[task_id]
            ready = next(
                (
                    (task_id, stream)
                    for task_id in pending
                    if not (stream := self._streams.setdefault(task_id, Stream())).busy
                    and (stream.next_at <= now or (stream.hurry and self._ports.spool.finished(task_id)))
                ),
                None,
            )
            if ready is None:
                return False
            ready[1].busy = True
        try:
            self._upload(*ready)
        finally:
            ready[1].busy = False
        return True

    def _upload(self, task_id: str, stream: Stream) -> None:
        runtime, spool = self._ports.runtime, self._ports.spool
        ended = spool.finished(task_id)  # asked before the look: nothing comes after it then
        batch = spool.peek(task_id, BATCH)
        stream.hurry, stream.next_at = True, runtime.now() + PAUSE
        try:
            if batch.doubtful and (stream.torn or (ended and not batch.data)):
                self._mend(task_id, stream, batch, ended)
            elif batch.data:
                self._append(task_id, stream, batch)
        except (NotFound, Refused) as error:
            log.warning("the server refuses this log: %s", error, extra={"task": task_id})
            self._ports.metrics.count("log_batches_refused")
            spool.discard(task_id)
        except CoordinationError as error:
            stream.torn, stream.repairs, stream.hurry = True, 0, False
            stream.next_at = runtime.now() + RETRY[min(stream.failures, len(RETRY) - 1)]
            stream.failures += 1
            level = logging.WARNING if stream.failures == PATIENCE else logging.DEBUG
            log.log(level, "the log is not taken yet and is kept: %s", error, extra={"task": task_id})
        else:
            if stream.failures:
                stream.settled_at = runtime.now() + SETTLE
            stream.failures = 0

    def _append(self, task_id: str, stream: Stream, batch: Batch) -> None:
        spool = self._ports.spool
        spool.doubt(task_id)
        size = self._ports.coordination.append(task_id, batch.data.decode("utf-8", "replace"))
        end = batch.offset + len(batch.data)
        more = size - end - (batch.base or 0)  # than was confirmed before
        if more < 0 or (more and batch.doubtful):
            now = self._ports.runtime.now()
            stream.torn, stream.next_at, stream.settled_at = True, now, now + SETTLE
            return
        if more or batch.base is None:
            spool.rebase(task_id, size - end)
        if not batch.doubtful:
            spool.trust(task_id)
        spool.advance(task_id, end)
        if more:
            self._remember_others(task_id, stream, batch)

    def _remember_others(self, task_id: str, stream: Stream, batch: Batch) -> None:
        """Somebody else has written to this log: kept, so that it can be put right with what they wrote."""
        stream.others = None
        try:
            held = self._ports.coordination.read(task_id)
        except CoordinationError:
            return
        if held is not None and held.endswith(batch.data):
            stream.others = Others(held[: len(held) - len(batch.data)], batch.offset)

    def _mend(self, task_id: str, stream: Stream, batch: Batch, ended: bool) -> None:
        """Compare, and write anew what is not as it should be; what only lacks its end is appended to."""
        spool = self._ports.spool
        ours, held = spool.text(task_id), self._ports.coordination.read(task_id)
        others = compare(held or b"", ours, batch.offset, batch.base, stream.others, BATCH)
        stream.others, whole = others, others.whole(ours)
        spool.rebase(task_id, others.base)  # kept before anything is written
        if held is None and batch.base is None:  # nothing is there, of others neither
            self._place(task_id, 0, 0)
            stream.torn = False
            return
        if held is not None and whole.startswith(held) and len(held) >= max(len(others.text), len(whole) - BATCH):
            self._place(task_id, others.base, others.start + len(held) - len(others.text))
            stream.torn = False
        else:
            self._write_anew(task_id, stream, whole, len(ours))
            stream.repairs += ended
        told = stream.repairs > PATIENCE
        if told:
            log.warning("the server keeps another text than it was sent", extra={"task": task_id})
        if ended and (held == whole or told):
            now = self._ports.runtime.now()
            if now >= stream.settled_at and not stream.failures:
                spool.trust(task_id)
            else:
                stream.next_at, stream.hurry = now + SETTLE, False

    def _write_anew(self, task_id: str, stream: Stream, whole: bytes, size: int) -> None:
        """The next look tells what came of it."""
        try:
            self._ports.coordination.replace(task_id, whole.decode("utf-8", "replace"))
        except NotFound:  # gone, or the server cannot look: an append begins it again, and tells which of the two
            self._place(task_id, 0, 0)
            stream.torn = False
            return
        self._place(task_id, len(whole) - size, size)

    def _place(self, task_id: str, base: int, offset: int) -> None:
        self._ports.spool.rebase(task_id, base)
        self._ports.spool.advance(task_id, offset)
