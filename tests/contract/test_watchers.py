"""Watchdogs, what ends orphan processes, and metrics keep their contracts."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.guardian.link import GuardianLink
from adapters.guardian.unguarded import NoWatchdog
from adapters.observability.metrics import MemoryMetrics
from adapters.process import tree
from adapters.process.orphans import NoOrphans, ProcessOrphans, boot_id, owner_of
from adapters.testkit.watch_contracts import MetricsContract, OrphanProcessesContract, WatchdogContract
from application.ports import Entry, Metrics, OrphanProcesses, Watchdog


class TestNoWatchdog(WatchdogContract):
    @pytest.fixture
    def watchdog(self) -> Watchdog:
        return NoWatchdog()


class TestGuardianThatDoesNotRead(WatchdogContract):
    """As one that somebody has stopped with Ctrl-Z."""

    @pytest.fixture
    def watchdog(self) -> Iterator[Watchdog]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = GuardianLink(theirs.detach())
        yield link
        link.close()
        ours.close()


class TestGuardianThatIsGone(WatchdogContract):
    @pytest.fixture
    def watchdog(self) -> Iterator[Watchdog]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = GuardianLink(theirs.detach())
        ours.close()
        yield link
        link.close()

    def test_it_is_told_as_lost(self, watchdog: Watchdog) -> None:
        watchdog.beat()
        assert watchdog.lost


class TestNoOrphans(OrphanProcessesContract):
    @pytest.fixture
    def orphans(self) -> OrphanProcesses:
        return NoOrphans()


class TestProcessOrphans(OrphanProcessesContract):
    @pytest.fixture
    def orphans(self, tmp_path: Path) -> OrphanProcesses:
        return ProcessOrphans(owner_of(tmp_path))

    def test_what_a_previous_run_left_is_ended(self, orphans: OrphanProcesses) -> None:
        with subprocess.Popen(["sleep", "60"], start_new_session=True) as left:
            found = tree.look(left.pid)
            assert found is not None
            entry = Entry("t1", "running", started=True, pid=left.pid, pid_start=found.start, boot_id=boot_id())
            orphans.end(entry)
            assert left.wait(5) == -9

    def test_another_process_of_the_same_number_is_left_alone(self, orphans: OrphanProcesses) -> None:
        with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
            orphans.end(Entry("t1", "running", started=True, pid=other.pid, pid_start=1, boot_id=boot_id()))
            orphans.sweep()
            assert other.poll() is None
            other.kill()


class TestMemoryMetrics(MetricsContract):
    @pytest.fixture
    def metrics(self) -> Metrics:
        return MemoryMetrics()
