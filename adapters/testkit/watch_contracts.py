"""What watchdogs, what ends orphan processes, and metrics promise: subclass these in a test module of yours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from adapters.testkit.promises import LIMIT, kept
from application.ports import Entry, Metrics, OrphanProcesses, Watchdog

THREADS = 8


def at_once(call: Callable[[], object], what: str, within: float = LIMIT) -> None:
    """Call it on a thread of its own: it has to return in time, and to raise nothing."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True, name="contract-call")
    thread.start()
    thread.join(within)
    kept(not thread.is_alive(), f"{what} returns within {within:g} s", "it did not")
    kept(not raised, f"{what} raises nothing", f"it raised {raised}")


class WatchdogContract:
    @pytest.fixture
    def watchdog(self) -> Iterator[Watchdog]:
        """Write this one: a watchdog that does not look at what it is told (the worst of them)."""
        raise NotImplementedError("give the fixture 'watchdog'")

    def test_no_call_blocks_or_raises(self, watchdog: Watchdog) -> None:
        """Whoever renews a lease must not stand still, also where nobody listens."""
        at_once(lambda: watchdog.hello(60.0), "Watchdog.hello")

        def tell() -> None:
            for number in range(3000):
                watchdog.lease(f"t{number % 10}", float(number))
                watchdog.beat()
                watchdog.ended("unknown")

        at_once(tell, "telling a Watchdog 9000 things")
        at_once(lambda: watchdog.lost, "Watchdog.lost")

    def test_any_thread_may_call_it(self, watchdog: Watchdog) -> None:
        def work() -> None:
            for _ in range(50):
                watchdog.lease("t", 1.0)

        def tell() -> None:
            threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        at_once(tell, f"a Watchdog that {THREADS} threads call")

    def test_close_may_be_repeated(self, watchdog: Watchdog) -> None:
        for _ in range(2):
            at_once(watchdog.close, "Watchdog.close")

    def test_after_a_close_calls_are_harmless(self, watchdog: Watchdog) -> None:
        watchdog.close()
        for call in (watchdog.beat, lambda: watchdog.lease("t", 1.0), lambda: watchdog.ended("t")):
            at_once(call, "a call of a closed Watchdog")


class OrphanProcessesContract:
    within = 10.0  # seconds that all calls together may take

    @pytest.fixture
    def orphans(self) -> Iterator[OrphanProcesses]:
        """Write this one."""
        raise NotImplementedError("give the fixture 'orphans'")

    @pytest.mark.parametrize(
        "entry",
        [
            Entry("t1", "accepted"),
            Entry("t1", "running", started=True, pid=1, pid_start=1, boot_id="another boot"),
            Entry("t1", "running", started=True, pid=2**30, pid_start=1),
            Entry("t1", "finished", pid=-1),
        ],
        ids=["never started", "of another boot", "gone", "nonsense"],
    )
    def test_what_is_not_there_is_ended_in_silence(self, orphans: OrphanProcesses, entry: Entry) -> None:
        for _ in range(2):
            at_once(lambda: orphans.end(entry), "OrphanProcesses.end", self.within)

    def test_sweeping_may_be_repeated(self, orphans: OrphanProcesses) -> None:
        for _ in range(2):
            at_once(orphans.sweep, "OrphanProcesses.sweep", self.within)


class MetricsContract:
    @pytest.fixture
    def metrics(self) -> Iterator[Metrics]:
        """Write this one."""
        raise NotImplementedError("give the fixture 'metrics'")

    def test_what_is_counted_is_shown(self, metrics: Metrics) -> None:
        metrics.count("a")
        metrics.count("a", 2)
        metrics.count("b", 0)
        found = metrics.snapshot()
        kept(found.get("a") == 3, "Metrics.count adds up", f"of 1 and 2 came {found.get('a')}")
        kept(found.get("b", 0) == 0, "what was counted by 0 is 0", f"it is {found.get('b')}")

    def test_a_snapshot_does_not_change(self, metrics: Metrics) -> None:
        metrics.count("a")
        before = metrics.snapshot()
        metrics.count("a")
        kept(before.get("a") == 1, "a snapshot stays as it was", f"it shows {before.get('a')}")

    def test_many_threads_lose_no_count(self, metrics: Metrics) -> None:
        def work() -> None:
            for _ in range(500):
                metrics.count("a")

        threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        found = metrics.snapshot().get("a")
        kept(found == 500 * THREADS, "any thread may count", f"of {500 * THREADS} came {found}")
