"""One task's log on disk: its text, and how much of it the server has."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from adapters.spool.utf8 import cap_marker, cut_between_characters, repair

log = logging.getLogger("worker.spool")

TAIL = 64 * 1024


class Filter(Protocol):
    """Takes secrets out of a stream, piece by piece."""

    def feed(self, data: bytes) -> bytes: ...
    def flush(self) -> bytes: ...


class TaskLog:
    """Its owner calls it from one thread at a time. Finished until ``begin``, and again after ``finish``.

    It holds a descriptor only in between: a server that takes no logs must not cost one for each task (G41, G60).
    """

    def __init__(self, directory: Path, task_id: str) -> None:
        """What is on the disk. Raises OSError."""
        self._text = directory / f"{task_id}.log"
        self._positions = directory / f"{task_id}.pos"
        self._descriptor = -1
        self.size = self._text.lstat().st_size if self._text.exists() else 0
        self.offset, self.mark, self.unsettled = self._load() if self.size else (0, "", False)
        self.inherited = self.unsettled  # a previous run may have told more of it than it knew
        self.lost = False  # somebody has removed the file
        self._filter: Filter | None = None
        self._rest = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._dropped = 0

    @property
    def finished(self) -> bool:
        return self._descriptor < 0

    @property
    def drained(self) -> bool:
        return self.finished and not self.waits

    @property
    def waits(self) -> bool:
        return self.offset < self.size or (self.finished and self.unsettled)

    def begin(self, make_filter: Callable[[], Filter] | None) -> None:
        """Write behind what is there. Raises OSError."""
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._text, flags, 0o600)
        self._filter = make_filter() if make_filter else None
        self._dropped = 0
        if not self.size:
            self.save()  # takes its place on the disk, so that a full one cannot make a later position fail

    def write(self, data: bytes, limit: int) -> None:
        if self._filter is not None:
            data = self._filter.feed(data)
        text, self._rest = repair(self._rest + data, final=False)
        self._keep(text, limit)

    def finish(self) -> None:
        rest = self._filter.flush() if self._filter is not None else b""
        text, self._rest = repair(self._rest + rest, final=True)
        if self._tail or self._dropped:
            self._remember(text)
            tail = b"".join(self._tail)
            tail = tail[len(tail) - _last_characters(tail, TAIL) :]
            dropped = self._dropped + self._tail_size - len(tail)
            self._append((cap_marker(dropped) if dropped else b"") + tail)
        else:
            self._append(text)
        self._tail.clear()
        self._tail_size = 0
        self.close()

    def peek(self, limit: int) -> bytes:
        try:
            data = self._read(limit + 4, self.offset)
        except OSError as error:
            log.error("the spooled log cannot be read: %s", error)
            self.lost = isinstance(error, FileNotFoundError)
            data = b""
        return data[: cut_between_characters(data, limit)]

    def text(self) -> bytes:
        """All of it; empty where it cannot be read."""
        try:
            return self._read(self.size, 0)
        except OSError as error:
            log.error("the spooled log cannot be read: %s", error)
            return b""

    def save(self) -> None:
        text = json.dumps({"offset": self.offset, "mark": self.mark, "unsettled": self.unsettled})
        try:
            descriptor = os.open(self._positions, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, text.ljust(160).encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("the position in a spooled log cannot be kept: %s", error)

    def close(self) -> None:
        """No more is written. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def remove(self) -> None:
        self.close()
        try:
            self._text.unlink(missing_ok=True)
            self._positions.unlink(missing_ok=True)
        except OSError as error:
            log.error("a delivered log cannot be removed: %s", error)

    def _read(self, size: int, offset: int) -> bytes:
        if not self.finished:
            return os.pread(self._descriptor, size, offset)
        descriptor = os.open(self._text, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def _load(self) -> tuple[int, str, bool]:
        """What was confirmed. What was not may have been sent all the same, so that a log with a rest is unsettled."""
        try:
            document = json.loads(self._positions.read_text())
            if "base" in document:  # how positions were kept before logs had marks
                base = document.pop("base")
                document |= {"mark": "" if base is None else str(base), "unsettled": document.get("doubtful")}
            offset, mark = document["offset"], document["mark"]
            if isinstance(offset, int) and 0 <= offset <= self.size and isinstance(mark, str):
                return offset, mark, offset < self.size or document.get("unsettled") is not False
        except FileNotFoundError:
            return 0, "", True
        except (OSError, ValueError, KeyError, TypeError):
            pass
        log.error("the position in the spooled log %s is unreadable: it is sent from its start", self._text.name)
        return 0, "", True

    def _keep(self, text: bytes, limit: int) -> None:
        if self._tail or self.size >= limit:
            self._remember(text)
            return
        cut = cut_between_characters(text, max(0, limit - self.size))
        self._append(text[:cut])
        if cut < len(text):
            self._remember(text[cut:])

    def _remember(self, text: bytes) -> None:
        if not text:
            return
        self._tail.append(text)
        self._tail_size += len(text)
        while self._tail_size - len(self._tail[0]) >= TAIL:
            gone = self._tail.popleft()
            self._tail_size -= len(gone)
            self._dropped += len(gone)

    def _append(self, text: bytes) -> None:
        """A full disk costs log, never the task."""
        try:
            written = 0
            while written < len(text):
                written += os.write(self._descriptor, text[written:])
        except OSError as error:
            if not self._dropped:
                log.error("the log cannot be spooled: %s", error)
            self._dropped += len(text) - written
        self.size += written


def _last_characters(data: bytes, limit: int) -> int:
    """How many bytes the last whole characters have that fit into ``limit``."""
    start = max(0, len(data) - limit)
    while start < len(data) and data[start] & 0xC0 == 0x80:
        start += 1
    return len(data) - start
