"""Task logs on their way to the server: in order, one request under way per task, nothing twice (G37..G44)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from application.ports import Batch, Ports
from domain.errors import CoordinationError, NotFound, Refused

log = logging.getLogger("worker.log_delivery")

BATCH = 64 * 1024  # bytes per append; the server rewrites the whole log each time, so few large ones are cheap
PAUSE = 1.0  # seconds between two appends of one running task
RETRY = (0.5, 1.0, 2.0, 5.0, 15.0)


@dataclass(slots=True)
class Stream:
    """What is known of one task's log on the server."""

    unsure: bool = True  # an append's answer was lost, here or in a former life: it may have been applied
    failures: int = 0
    next_at: float = 0.0
    busy: bool = False


class LogDelivery:
    """Several identical loops upload; a task is never in two of them at once."""

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
            # Kept while the task may write more: one that is forgotten is unsure again, and would take what somebody
            # else wrote meanwhile for its own.
            for task_id in self._streams.keys() - set(pending):
                if not self._streams[task_id].busy and self._ports.spool.drained(task_id):
                    del self._streams[task_id]
            ready = next(
                (
                    (task_id, stream)
                    for task_id in pending
                    if not (stream := self._streams.setdefault(task_id, Stream())).busy
                    and (stream.next_at <= now or (not stream.failures and self._ports.spool.finished(task_id)))
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
        batch = spool.peek(task_id, BATCH)
        if not batch.data:
            stream.next_at = runtime.now() + PAUSE
            return
        try:
            if batch.base is None:
                base = self._ports.coordination.size(task_id)
                spool.rebase(task_id, base)
            elif stream.unsure and (had := self._already_there(task_id, batch, batch.base)):
                spool.advance(task_id, batch.offset + had)
                stream.unsure = False
                return
            else:
                base = batch.base
            stream.unsure = True
            size = self._ports.coordination.append(task_id, batch.data.decode("utf-8", "replace"))
            stream.unsure = False
        except (NotFound, Refused) as error:
            log.warning("the server refuses this log: %s", error, extra={"task": task_id})
            self._ports.metrics.count("log_batches_refused")
            spool.discard(task_id)
            return
        except CoordinationError as error:
            log.debug("a log append failed: %s", error, extra={"task": task_id})
            stream.next_at = runtime.now() + RETRY[min(stream.failures, len(RETRY) - 1)]
            stream.failures += 1
            return
        end = batch.offset + len(batch.data)
        if size != base + end:
            spool.rebase(task_id, size - end)  # somebody else wrote to this log too
        stream.failures = 0
        stream.next_at = runtime.now() + PAUSE
        spool.advance(task_id, end)

    def _already_there(self, task_id: str, batch: Batch, base: int) -> int:
        """How many bytes of the batch the server has: the answer to an earlier append may have been lost."""
        return max(0, min(self._ports.coordination.size(task_id) - base - batch.offset, len(batch.data)))
