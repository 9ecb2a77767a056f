"""The Runtime port on operating-system threads and CLOCK_BOOTTIME."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable
from datetime import datetime

from domain.errors import NoRoom


class ThreadRuntime:
    """What the worker runs on. Threads are daemons: shutdown joins them by name of their owner, never by exit."""

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> datetime:
        return datetime.now().astimezone()

    def uniform(self, low: float, high: float) -> float:
        return random.uniform(low, high)  # noqa: S311 - spreads load, guards nothing

    def token(self) -> str:
        return secrets.token_hex(16)

    def event(self) -> threading.Event:
        return threading.Event()

    def lock(self) -> threading.Lock:
        return threading.Lock()

    def start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise NoRoom(f"no thread can be started: {error}") from error
        return thread
