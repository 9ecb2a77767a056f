"""What signals ask of the worker."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from adapters.runtime.signals import SignalFlags

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture
def flags() -> Iterator[SignalFlags]:
    """Everything about signals is afterwards as it was."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    wakeup = signal.set_wakeup_fd(-1)
    made = SignalFlags()
    yield made
    os.close(signal.set_wakeup_fd(wakeup))
    os.close(made._reading)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_asks_for_the_end_and_the_second_forces_it(flags: SignalFlags, number: signal.Signals) -> None:
    assert (flags.end, flags.force) == (False, False)
    signal.raise_signal(number)
    assert (flags.end, flags.force) == (True, False)
    signal.raise_signal(signal.SIGTERM)
    assert (flags.end, flags.force) == (True, True)


def test_who_asks_for_stacks_gets_them_once_and_ends_nothing(flags: SignalFlags) -> None:
    assert not flags.take_stacks()
    signal.raise_signal(signal.SIGUSR1)
    assert flags.take_stacks()
    assert not flags.take_stacks()
    assert not flags.end


def test_a_wait_ends_at_a_signal_even_at_one_that_came_before_it(flags: SignalFlags) -> None:
    signal.raise_signal(signal.SIGUSR1)
    flags.wait(1000.0)  # the limit on a test is far shorter
    flags.wait(0.0)
    signal.raise_signal(signal.SIGTERM)
    flags.wait(1000.0)
    assert flags.end


def test_who_waits_is_woken_by_the_signal_and_not_before(flags: SignalFlags) -> None:
    def end_soon() -> None:
        threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end_soon)
    thread.start()
    flags.wait(1000.0)
    assert flags.end
    thread.join()


def test_a_flood_of_signals_is_taken_without_a_word(flags: SignalFlags, capfd: pytest.CaptureFixture[str]) -> None:
    fcntl.fcntl(flags._reading, fcntl.F_SETPIPE_SZ, 4096)
    for _ in range(5000):
        signal.raise_signal(signal.SIGUSR1)
    flags.wait(60.0)
    assert flags.take_stacks()
    assert capfd.readouterr().err == ""
