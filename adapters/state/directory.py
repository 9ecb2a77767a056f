"""The state directory: private, one worker's only (G87, G66), and where ``pause`` leaves its mark."""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from adapters.process.kernel import boottime
from adapters.process.killing import is_alive
from adapters.state.identity import private_directory
from domain.errors import ConfigError, WorkerError

log = logging.getLogger("worker")


class Occupied(ConfigError):
    """Another worker lives in the state directory; ``owner`` is its pid, ``guardian`` what it said of its guardian."""

    def __init__(self, directory: Path, owner: str, guardian: str) -> None:
        self.owner, self.guardian = owner, guardian
        super().__init__(
            f"{directory}: another worker (pid {owner}) uses this state directory; "
            "stop it, or give this one its own with WORKER_STATE_DIR"
        )


class StateLock:
    """Holds ``directory`` for this process until ``release``. Children do not inherit it."""

    def __init__(self, directory: Path, guardian: str = "") -> None:
        """``guardian`` is told to whoever finds the directory occupied. Raises Occupied, ConfigError."""
        path = directory / "lock"
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"state_dir: {path} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            known = os.pread(self._descriptor, 64, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            owner, _, other = known.partition(" ")
            raise Occupied(directory, owner or "unknown", other) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()} {guardian}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


class EndedWaiting(WorkerError):
    """The end was asked for before the state directory was free."""


class Settings(Protocol):
    """What is needed of the settings."""

    @property
    def state_dir(self) -> Path: ...
    @property
    def longest_end(self) -> float:
        """Seconds that a worker may take to end."""


class Guardian(Protocol):
    @property
    def identity(self) -> str: ...
    @property
    def lost(self) -> bool: ...
    def beat(self) -> None: ...


class Signals(Protocol):
    @property
    def end(self) -> bool: ...
    def wait(self, seconds: float) -> None: ...


def take_state_dir(settings: Settings, guardian: Guardian, signals: Signals, stack: ExitStack) -> Path:
    """The private state directory, this process's alone until ``stack`` is closed. Raises ConfigError, EndedWaiting.

    A former worker whose guardian was killed still ends its tasks there: that is waited for.
    """
    directory = private_directory(settings.state_dir)
    deadline, told = boottime() + settings.longest_end, False
    while not signals.end and not guardian.lost:
        try:
            stack.callback(StateLock(directory, guardian.identity).release)
        except Occupied as error:
            left = deadline - boottime()
            if not error.guardian or is_alive(error.guardian) or left < 0:
                raise
            if not told:
                text = "waiting up to %.0f s for the former worker (pid %s): its guardian is gone and it ends its tasks"
                log.warning(text, left, error.owner)
            told = True
        else:
            return directory
        guardian.beat()
        signals.wait(0.2)
    raise EndedWaiting("ended before the state directory was free")


class PauseMark:
    """A file whose presence keeps the worker of ``directory`` from taking tasks, also over restarts.

    Written by another process than the one that obeys it; no method waits.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "paused"

    def set(self, reason: str) -> None:
        """Raises OSError."""
        draft = self._path.with_suffix(".new")
        draft.write_text(reason, encoding="utf-8")
        draft.replace(self._path)

    def clear(self) -> bool:
        """True if there was one. Raises OSError."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True

    def reason(self) -> str | None:
        """Why the worker is paused; None if it is not. What cannot be read is taken for a pause."""
        try:
            return self._path.read_text(encoding="utf-8", errors="replace").strip() or "paused"
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{self._path} cannot be read ({error.strerror})"
