"""The state directory: private, and one worker's only (G63a, G66)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from domain.errors import ConfigError


class StateLock:
    """Holds ``directory`` for this process until ``release``. Children do not inherit it."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError if another worker lives there."""
        path = directory / "lock"
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise ConfigError(
                f"{directory}: another worker (pid {owner}) uses this state directory; "
                "stop it, or give this one its own with WORKER_STATE_DIR"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
