"""The runtime of the real world."""

from __future__ import annotations

import threading
import time

import pytest
from pytest_mock import MockerFixture

from adapters.runtime.threads import ThreadRuntime
from application.ports import Runtime
from domain.errors import NoRoom


@pytest.fixture
def runtime() -> Runtime:
    return ThreadRuntime()


def test_time_goes_on_and_the_calendar_has_an_offset(runtime: Runtime) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= runtime.now() <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert runtime.wall().utcoffset() is not None
    assert abs(runtime.wall().timestamp() - time.time()) < 60.0


def test_a_thread_has_its_name_and_holds_no_program_up(runtime: Runtime) -> None:
    seen: list[tuple[str, bool]] = []

    def target() -> None:
        seen.append((threading.current_thread().name, threading.current_thread().daemon))

    thread = runtime.start("link", target)
    thread.join()
    assert seen == [("link", True)]
    assert not thread.is_alive()


def test_a_system_without_room_is_told_as_that(runtime: Runtime, mocker: MockerFixture) -> None:
    mocker.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread"))
    with pytest.raises(NoRoom, match="no thread can be started: can't start new thread"):
        runtime.start("link", lambda: None)


def test_an_event_wakes_who_waits_and_a_time_that_is_over_says_so(runtime: Runtime) -> None:
    event = runtime.event()
    assert not event.wait(0.0)
    thread = runtime.start("setter", event.set)
    assert event.wait(10.0)
    event.clear()
    assert not event.is_set()
    thread.join()


def test_a_lock_lets_one_in_at_a_time(runtime: Runtime) -> None:
    lock, count = runtime.lock(), [0]

    def add() -> None:
        for _ in range(1000):
            with lock:
                seen = count[0]
                count[0] = seen + 1

    for thread in [runtime.start(f"adder {number}", add) for number in range(4)]:
        thread.join()
    assert count == [4000]


def test_a_token_is_32_hexadecimal_digits_and_nobody_s_else(runtime: Runtime) -> None:
    tokens = {runtime.token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 32 and set(token) <= set("0123456789abcdef") for token in tokens)


def test_chance_stays_between_its_bounds(runtime: Runtime) -> None:
    found = [runtime.uniform(2.0, 3.0) for _ in range(200)]
    assert all(2.0 <= number <= 3.0 for number in found)
    assert len(set(found)) > 100
