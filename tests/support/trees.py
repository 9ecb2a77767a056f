"""Shell programs that leave nasty process trees, for kill suites. Each process carries ``MARK`` in its arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SLEEP = "sleep 1000.MARK"
PY = "python3 -c"

# Each prints READY when its tree stands. They run until they are ended.
SHAPES = {
    "plain": f"echo READY; exec {SLEEP}",
    "child": f"{SLEEP} & echo READY; wait",
    "setsid": f"setsid {SLEEP} & echo READY; {SLEEP}",
    "double fork": f"( {SLEEP} & ) ; echo READY; {SLEEP}",
    "nohup and trap": f"trap '' TERM HUP; nohup {SLEEP} >/dev/null 2>&1 & trap '' TERM; echo READY; {SLEEP}; {SLEEP}",
    "daemon": f"( setsid bash -c '{SLEEP} & {SLEEP}' >/dev/null 2>&1 & ) ; echo READY; {SLEEP}",
    "daemon without environment": f"( env -i setsid {SLEEP} >/dev/null 2>&1 & ) ; echo READY; {SLEEP}",
    "stopped": f"{SLEEP} & kill -STOP $!; echo READY; wait",
    "holds the pipe": f"( trap '' TERM; {SLEEP} ) & echo READY; {SLEEP}",
    "deep": 'bash -c "bash -c \\"bash -c \'echo READY; sleep 1000.MARK; true\'; true\\"; true"; true',
    "respawning": f"f() {{ while :; do {SLEEP}; done; }}; f & f & echo READY; trap '' TERM; wait",
    "fork chain": f"f() {{ [ $1 -gt 0 ] && f $(($1-1)) & {SLEEP}; }}; f 6 & echo READY; {SLEEP}",
    "threads": f"{PY} 'import threading,time; [threading.Thread(target=time.sleep,args=(1000,)).start() "
    'for _ in range(4)]; print("READY",flush=True)\' 1000.MARK; true',
    "pipeline": f"( echo READY; {SLEEP} ) | cat",
}


def program(shape: str, mark: str) -> str:
    return SHAPES[shape].replace("MARK", mark)


def alive(mark: str) -> list[int]:
    """The living processes that carry the mark in their arguments; zombies are dead."""
    tools = (b"/usr/bin/strace", b"pytest")
    return [pid for pid, line in _command_lines(f"1000.{mark}") if not line.startswith(tools)]


def sleepers(mark: str) -> list[int]:
    """Those among them that are no shell: what the shapes are made of."""
    return [pid for pid, line in _command_lines(f"1000.{mark}") if line.startswith(b"sleep\0")]


def named(text: str) -> list[int]:
    """The living processes with this text in their arguments, whatever they are."""
    return [pid for pid, _ in _command_lines(text)]


def _command_lines(text: str) -> Iterator[tuple[int, bytes]]:
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in line:
            yield int(name), line
