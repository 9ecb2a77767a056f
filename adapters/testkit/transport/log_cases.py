"""The TaskLogs port: each piece stands there once, whatever is repeated."""

from __future__ import annotations

import time
import uuid

import pytest

from adapters.testkit.promises import broken, kept
from adapters.testkit.transport.base import TransportCases
from adapters.testkit.transport.site import Site
from adapters.testkit.transport.worker_link import WorkerLink
from application.ports import LogPiece, Taken, TaskLogs
from domain.errors import NotFound, Refused

ONE, TWO, THREE = "caf\u00e9 one\n".encode(), b"two\n", "\u4e2d three\n".encode()
WHOLE = ONE + TWO + THREE


class KeptLog:
    """What a worker has kept of one task's log, LogHistory too: as a spool, but in the test's hand."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.data = b""
        self.offset = 0  # how far the server holds it, as far as the worker knows
        self.finished = False
        self.settled = True
        self.taken_over = False
        self.note = ""

    def text(self) -> bytes:
        return self.data

    def mark(self) -> str:
        return self.note

    def inherited(self) -> bool:
        return self.taken_over

    def remember(self, mark: str) -> None:
        self.note = mark

    def restarts(self, offset: int) -> None:
        """The worker died, and what it had told beyond ``offset`` is not known to the next one."""
        self.offset, self.taken_over = offset, True

    def piece(self, offset: int | None = None, size: int = 1 << 16) -> LogPiece:
        at = self.offset if offset is None else offset
        data = self.data[at : at + size]
        return LogPiece(self.task_id, at, data, self.finished and at + len(data) >= len(self.data), self)

    def deliver(self, logs: TaskLogs, within: float) -> None:
        """As the core does: piece by piece, until the server holds all of it, and for an ended log until it is
        settled."""
        until = time.monotonic() + within
        while True:
            taken = logs.append(self.piece())
            self.offset, self.settled = taken.offset, taken.settled
            if self.offset >= len(self.data) and (self.settled or not self.finished):
                return
            if time.monotonic() > until:
                broken(
                    "TaskLogs.append takes a log to its end, and settles one that has ended",
                    f"after {within:g} s it holds {self.offset} of {len(self.data)} bytes, settled: {self.settled}",
                )
            time.sleep(min(taken.after, 0.25))


class LogCases(TransportCases):
    @pytest.fixture
    def spooled(self, link: WorkerLink) -> KeptLog:
        """An empty log of a task that runs."""
        self.needs("logs")
        return KeptLog(link.run().task.id)

    def test_a_log_grows_piece_by_piece(self, link: WorkerLink, site: Site, spooled: KeptLog) -> None:
        for data in (ONE, TWO, THREE):
            spooled.data += data
            taken = self._logs(link).append(spooled.piece())
            kept(
                taken.offset == len(spooled.data),
                "TaskLogs.append tells up to which offset the server holds the log",
                f"of {len(spooled.data)} it tells {taken.offset}",
            )
            spooled.offset = taken.offset
        self._reads(site, spooled, WHOLE, "pieces stand in the log in order, each once")

    def test_a_piece_that_comes_again_stands_there_once(self, link: WorkerLink, site: Site, spooled: KeptLog) -> None:
        self.needs("log_offsets")
        spooled.data = WHOLE
        first = spooled.piece(size=len(ONE))
        for _ in range(2):
            self._logs(link).append(first)
        spooled.offset = len(ONE)
        spooled.deliver(self._logs(link), self.limit)
        self._logs(link).append(first)
        self._reads(site, spooled, WHOLE, "a piece that comes again stands there once, and takes nothing away")

    def test_pieces_that_overlap_stand_there_once(self, link: WorkerLink, site: Site, spooled: KeptLog) -> None:
        self.needs("log_offsets")
        spooled.data = WHOLE
        self._logs(link).append(spooled.piece(size=len(ONE + TWO)))
        self._logs(link).append(spooled.piece(offset=len(ONE)))
        self._reads(site, spooled, WHOLE, "what overlaps stands in the log once")

    @pytest.mark.parametrize("known", [len(ONE + TWO), len(ONE), 0], ids=["all", "a part", "nothing"])
    def test_after_a_restart_nothing_stands_there_twice(
        self, link: WorkerLink, site: Site, spooled: KeptLog, known: int
    ) -> None:
        """The worker told two pieces, died, and its next run knows of ``known`` bytes."""
        for data in (ONE, TWO):
            spooled.data += data
            spooled.deliver(self._logs(link), self.limit)
        spooled.restarts(known)
        spooled.data += THREE
        spooled.finished = True
        next_run = WorkerLink(site, site.open(), self.limit, link.identity)
        try:
            spooled.deliver(self._logs(next_run), self.limit)
        finally:
            next_run.end()
        self._reads(site, spooled, WHOLE, "a log goes on after a restart with nothing twice and nothing missing")

    def test_a_log_that_has_ended_is_settled(self, link: WorkerLink, site: Site, spooled: KeptLog) -> None:
        spooled.data, spooled.finished = WHOLE, True
        spooled.deliver(self._logs(link), self.limit)
        self._reads(site, spooled, WHOLE, "a log that has ended is there whole")

    def test_a_log_without_text_ends_too(self, link: WorkerLink, site: Site, spooled: KeptLog) -> None:
        spooled.finished = True
        spooled.deliver(self._logs(link), self.limit)
        self._reads(site, spooled, b"", "a log without text stays empty")

    def test_the_log_of_a_task_that_nobody_knows_holds_nothing_up(self, link: WorkerLink) -> None:
        self.needs("logs")
        unknown = KeptLog(str(uuid.uuid4()))
        unknown.data, unknown.finished = WHOLE, True
        try:
            taken: Taken = self._logs(link).append(unknown.piece())
        except (NotFound, Refused):
            return
        kept(taken.offset <= len(WHOLE), "Taken.offset is within what was given", f"it is {taken.offset}")

    def _logs(self, link: WorkerLink) -> TaskLogs:
        if link.server.logs is None:
            broken("a transport with the flag logs has the part logs", "it is None")
        return link.server.logs

    def _reads(self, site: Site, spooled: KeptLog, wanted: bytes, promise: str) -> None:
        held = site.log(spooled.task_id)
        kept(held == wanted, promise, f"of {wanted!r} people read {held!r}")
