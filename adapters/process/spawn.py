"""Start a program in a session of its own, or tell exactly why it could not be started."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass

from adapters.process import tree
from adapters.process.ports import Command, Exit
from domain.result import EndReason

RUN_TAG = "CRONJOB_WORKER_RUN"  # in the environment of every process of a run (OWNER.RUN): how orphans are known again
TRANSIENT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
TRIES = 5
PAUSE = 0.2  # seconds between two tries to start when the system has no room


@dataclass(frozen=True, slots=True)
class Spawned:
    """``start`` is the process's start time in clock ticks since boot."""

    process: subprocess.Popen[bytes]
    pidfd: int
    start: int
    out: int
    err: int
    tag: bytes


def spawn(command: Command, owner: str = "") -> Spawned | Exit:
    """Start the command; an Exit tells why it did not start. ``owner`` goes into the tag of its processes.

    Blocks for the start only (and for a second when the system is out of processes, memory or descriptors).
    """
    tag = f"{owner}.{uuid.uuid4().hex}"
    for attempt in range(TRIES):
        try:
            return _spawn(command, tag)
        except OSError as error:
            if error.errno not in TRANSIENT or attempt == TRIES - 1:
                return _why_not(command, error)
            time.sleep(PAUSE)
        except ValueError as error:  # a NUL byte in an argument
            return Exit(EndReason.SPAWN_FAILED, -1, error=f"cannot start {command.argv[0]!r}: {error}")
    raise AssertionError("unreachable")


def _spawn(command: Command, tag: str) -> Spawned | Exit:
    with contextlib.ExitStack() as reading, contextlib.ExitStack() as opened:
        out, out_write = _pipe(reading, opened)
        err, err_write = _pipe(reading, opened)
        process = subprocess.Popen(
            [utf8(word) for word in command.argv],
            stdin=subprocess.DEVNULL if command.stdin is None else _memory(opened, command.stdin),
            stdout=out_write,
            stderr=err_write,
            cwd=command.cwd,
            env={utf8(name): utf8(value) for name, value in command.environment.items()}
            | {RUN_TAG.encode(): tag.encode()},
            start_new_session=True,  # no terminal: one could stop it, and show the operator what no log has seen
            pass_fds=command.pass_fds,
        )
        # From here on it runs: whatever fails now must not make it start once more.
        known = _identify(process.pid)
        if isinstance(known, OSError):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Exit(EndReason.SPAWN_FAILED, -1, error=f"cannot start {command.argv[0]}: {known.strerror}; killed")
        reading.pop_all()  # these ends belong to the supervisor now
    return Spawned(process, *known, out, err, f"{RUN_TAG}={tag}".encode())


def utf8(text: str) -> bytes:
    """What the task's author wrote, whatever the locale; bytes that came in undecoded go out as they were."""
    return text.encode("utf-8", "surrogateescape")


def _identify(pid: int) -> tuple[int, int] | OSError:
    """The pidfd and the start time of a child that is not reaped; patient where no descriptor is left."""
    failed = OSError(errno.ESRCH, os.strerror(errno.ESRCH))
    for _ in range(TRIES):
        try:
            proc = tree.look(pid)
            if proc is not None:
                return os.pidfd_open(pid), proc.start
        except OSError as error:
            failed = error
        time.sleep(PAUSE)
    return failed


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe2(os.O_CLOEXEC)
    reading.callback(os.close, read)
    writing.callback(os.close, write)
    os.set_blocking(read, False)
    return read, write


def _memory(opened: contextlib.ExitStack, data: bytes) -> int:
    """A file in memory: nobody has to feed a pipe while the child runs."""
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    opened.callback(os.close, descriptor)
    with open(os.dup(descriptor), "wb") as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _why_not(command: Command, error: OSError) -> Exit:
    name = command.argv[0]
    if command.cwd is not None and not os.path.isdir(command.cwd):
        return Exit(EndReason.NO_SUCH_DIRECTORY, -1, error=f"no such working directory: {command.cwd}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        found = os.path.exists(name)  # then it is the interpreter named in its first line
        text = f"the interpreter of {name} was not found" if found else f"not found: {name}"
        return Exit(EndReason.NOT_FOUND, 127, error=text)
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ETXTBSY, errno.EISDIR):
        return Exit(EndReason.NOT_EXECUTABLE, 126, error=f"not executable: {name} ({os.strerror(error.errno)})")
    return Exit(EndReason.SPAWN_FAILED, -1, error=f"cannot start {name}: {os.strerror(error.errno or 0)}")
