"""A private pid namespace for the program, whose own /proc tells who is alive in it (H3).

The oracle is independent of how the worker finds and kills: every process in the namespace but guardian and worker is
a survivor. Its network is shared, so that the program reaches servers of this machine.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adapters.process import tree


def prefix() -> list[str]:
    """What to put before a command so that it is process 1 of a new namespace, gone with the process that starts it."""
    kind = "-pf" if os.geteuid() == 0 else "-Urpf"
    return ["unshare", kind, "--mount-proc", "--kill-child", "--"]


@cache
def missing() -> str:
    """Why there can be no jail here, and what would help; empty if there can be one."""
    try:
        done = subprocess.run([*prefix(), "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unshare is not installed: make peers"
    if done.returncode == 0:
        return ""
    return f"no pid namespaces here ({done.stderr.strip()}): run as root, or allow user namespaces"


@dataclass(frozen=True, slots=True)
class Inmate:
    """A process as its namespace numbers it."""

    pid: int
    parent: int
    state: str
    command: str


def inmates(init: int) -> list[Inmate]:
    """All processes of the namespace whose process 1 is ``init`` here; none once it is gone."""
    proc = Path(f"/proc/{init}/root/proc")
    found: list[Inmate] = []
    try:
        names = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return found
    for name in names:
        try:
            fields = (proc / name / "stat").read_bytes().rpartition(b")")[2].split()
            command = (proc / name / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        found.append(Inmate(int(name), int(fields[1]), fields[0].decode(), command.strip()))
    return found


def survivors(init: int) -> list[Inmate]:
    """Who is alive beside the guardian (process 1) and its worker."""
    worker = [it.pid for it in inmates(init) if it.parent == 1 and "bootstrap.py" in it.command][:1]
    return [it for it in inmates(init) if it.pid not in (1, *worker) and it.state not in ("Z", "X")]


def zombies(init: int) -> list[Inmate]:
    return [it for it in inmates(init) if it.state == "Z"]


def take_next_pid(pid: int) -> None:
    """Let the next process of the caller's namespace get ``pid``, which must be free. Raises OSError."""
    if tree.look(pid) is not None:
        raise FileExistsError(f"process {pid} exists")
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
