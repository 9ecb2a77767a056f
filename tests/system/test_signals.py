"""A signal at any moment is heard, also while another is being answered (G35)."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

BUSY = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from adapters.runtime.signals import SignalFlags
flags, seen = SignalFlags(), 0
print("ready", flush=True)
while not flags.force:
    flags.wait(0.0001)  # as often as can be in the place where a lock would be held
    if flags.stacks:
        flags.stacks = False
        seen += 1
        print(seen, flush=True)
"""


def test_no_signal_meets_a_lock_of_the_one_who_waits() -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in range(1, 3001):
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == f"{number}\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == "3001\n"  # by then the first was heard, and one did not hurry
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0
    process.stdout.close()
