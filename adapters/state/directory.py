"""The state directory: private, one worker's only (G63a, G66), and where ``pause`` leaves its mark."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

from adapters.state.identity import private_directory
from domain.errors import ConfigError


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


def open_state_dir(path: Path, stack: ExitStack) -> Path:
    """The private directory at ``path``, this process's alone until ``stack`` is closed. Raises ConfigError."""
    directory = private_directory(path)
    stack.callback(StateLock(directory).release)
    return directory


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
