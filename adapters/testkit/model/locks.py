"""The locks of the modelled server (protocol 6.1)."""

from __future__ import annotations

import secrets
from collections.abc import Callable

REFRESH_CAP = 3600.0


class LockTable:
    """Locks with a value that proves ownership and an expiry in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[str, tuple[str, float]] = {}

    def acquire(self, key: str, expire: float) -> str | None:
        if self.holder(key):
            return None
        value = secrets.token_hex(16)
        self._held[key] = (value, self._clock() + (expire if expire > 0 else 60.0))
        return value

    def refresh(self, key: str, value: str, expire: float) -> bool:
        if self.holder(key) != value:
            return False
        self._held[key] = (value, self._clock() + min(expire if expire > 0 else 60.0, REFRESH_CAP))
        return True

    def release(self, key: str, value: str) -> bool:
        if not value or self.holder(key) != value:
            return False
        del self._held[key]
        return True

    def holder(self, key: str) -> str:
        """The value of the one who holds the lock, empty if it is free."""
        value, until = self._held.get(key, ("", 0.0))
        return value if until > self._clock() else ""

    def steal(self, key: str) -> None:
        """As if the lock store had lost it."""
        self._held.pop(key, None)

    def clear(self) -> None:
        """As if the lock store had been emptied."""
        self._held.clear()
