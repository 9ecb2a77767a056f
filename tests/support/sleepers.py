"""Processes that wait to be looked at, stopped or killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Sleeper = Callable[[Mapping[str, str]], subprocess.Popen[bytes]]


@contextmanager
def sleepers() -> Iterator[Sleeper]:
    """Starts a process that does nothing, in a group of its own, with this environment beside PATH."""
    started: list[subprocess.Popen[bytes]] = []

    def start(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["sh", "-c", "echo; read _"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], **environment},
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()  # for a moment after its start the system tells no environment of it
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def family() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A shell with a child that sleeps; the shell, which does not end when the child does, and the child's pid."""
    script = ["sh", "-c", "sleep 1000 & echo $!; read _"]
    shell = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert shell.stdin is not None
    assert shell.stdout is not None
    with shell.stdin, shell.stdout:
        child = int(shell.stdout.readline())
        yield shell, child
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        shell.wait()
