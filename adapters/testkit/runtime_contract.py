"""What every runtime promises: subclass ``RuntimeContract`` in a test module of yours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from adapters.testkit.promises import kept
from application.ports import Runtime

MOMENT = 0.02  # seconds; the least that a wait of these tests takes
LONG = 3600.0  # one that must be woken


class RuntimeContract:
    @pytest.fixture
    def runtime(self) -> Iterator[Runtime]:
        """Write this one."""
        raise NotImplementedError("give the fixture 'runtime'")

    def drive(self, runtime: Runtime, body: Callable[[], None]) -> None:
        """Run ``body`` to its end on one of the runtime's own threads, and raise what it raises."""
        body()

    def test_the_clock_goes_on_and_never_back(self, runtime: Runtime) -> None:
        def body() -> None:
            before = runtime.now()
            waited = runtime.event().wait(MOMENT)
            after = runtime.now()
            kept(not waited, "Event.wait is False where nobody has set it", "it is True")
            kept(
                after - before >= 0.9 * MOMENT,
                f"a wait of {MOMENT} s takes it",
                f"it took {after - before} s by the clock",
            )

        self.drive(runtime, body)

    def test_the_calendar_has_an_offset(self, runtime: Runtime) -> None:
        def body() -> None:
            wall = runtime.wall()
            kept(wall.tzinfo is not None, "Runtime.wall has an offset", f"it gave {wall!r}")

        self.drive(runtime, body)

    def test_a_random_number_is_between_its_limits(self, runtime: Runtime) -> None:
        def body() -> None:
            numbers = [runtime.uniform(1.0, 2.0) for _ in range(50)]
            kept(all(1.0 <= it <= 2.0 for it in numbers), "Runtime.uniform is between its limits", f"came {numbers}")
            kept(len(set(numbers)) > 1, "Runtime.uniform is random", f"it always gave {numbers[0]}")

        self.drive(runtime, body)

    def test_no_token_comes_twice(self, runtime: Runtime) -> None:
        def body() -> None:
            tokens = [runtime.token() for _ in range(50)]
            kept(len(set(tokens)) == 50, "no token comes twice", f"of 50 are {len(set(tokens))} different")
            good = all(len(it) == 32 and set(it) <= set("0123456789abcdef") for it in tokens)
            kept(good, "a token has 32 hexadecimal digits", f"came {tokens[0]!r}")

        self.drive(runtime, body)

    def test_an_event_wakes_who_waits(self, runtime: Runtime) -> None:
        def body() -> None:
            event, woken = runtime.event(), []
            thread = runtime.start("waiter", lambda: woken.append(event.wait(LONG)))
            event.set()
            thread.join(LONG)
            kept(woken == [True], "Event.set wakes who waits, and who waits later", f"the waiter saw {woken}")
            kept(event.is_set() and event.wait(), "an Event stays set", "it did not")
            event.clear()
            kept(not event.is_set() and not event.wait(0.0), "Event.clear clears it", "it is still set")

        self.drive(runtime, body)

    def test_a_thread_runs_once_and_is_joined(self, runtime: Runtime) -> None:
        def body() -> None:
            go, ran = runtime.event(), []

            def target() -> None:
                go.wait(LONG)
                ran.append(1)

            thread = runtime.start("target", target)
            thread.join(MOMENT)
            kept(thread.is_alive() and not ran, "Thread.join ends after its time-out", "the thread was over")
            go.set()
            thread.join(LONG)
            kept(not thread.is_alive() and ran == [1], "a thread runs its target once", f"it ran {len(ran)} times")
            thread.join()

        self.drive(runtime, body)

    def test_a_lock_keeps_all_but_one_out(self, runtime: Runtime) -> None:
        def body() -> None:
            lock, inside, seen = runtime.lock(), [0], []

            def work() -> None:
                for _ in range(20):
                    with lock:
                        inside[0] += 1
                        seen.append(inside[0])
                        runtime.event().wait(0.0)  # let others come
                        inside[0] -= 1

            threads = [runtime.start(f"worker-{number}", work) for number in range(4)]
            for thread in threads:
                thread.join(LONG)
            kept(
                seen == [1] * 80,
                "a lock keeps all but one out",
                f"{max(seen, default=0)} were inside, {len(seen)} times",
            )

        self.drive(runtime, body)
