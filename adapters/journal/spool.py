"""Task logs on disk on their way to the server: one file of text and one of positions per task.

The file holds valid UTF-8 in the order it was written. Past ``limit`` bytes, or past the quota of all logs together,
only the last bytes are remembered (in memory) and written at the end behind a mark, so a log always has its head, its
end, and a word on what is missing (G37, G43). Positions survive the death of the worker, not a power cut: then the last
batch may be repeated.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from adapters.journal.text import cap_marker, cut_between_characters, repair
from application.ports import Batch

log = logging.getLogger("worker.spool")

TAIL = 64 * 1024


class Filter(Protocol):
    """Takes secrets out of a stream, piece by piece."""

    def feed(self, data: bytes) -> bytes: ...
    def flush(self) -> bytes: ...


class FileSpool:
    """The contract of LogSpool on files below ``directory`` (made 0700)."""

    def __init__(
        self, directory: Path, limit: int, quota: int, make_filter: Callable[[], Filter] | None = None
    ) -> None:
        self._directory = directory
        self._limit = limit
        self._quota = quota
        self._make_filter = make_filter
        self._guard = threading.Lock()
        self._logs: dict[str, _TaskLog] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open(self, task_id: str) -> None:
        with self._guard:
            if task_id not in self._logs:
                try:
                    self._logs[task_id] = _TaskLog(self._directory, task_id, self._make_filter)
                except OSError as error:
                    log.error("no log of this task is kept: %s", error, extra={"task": task_id})

    def write(self, task_id: str, data: bytes) -> None:
        with self._guard:
            found = self._logs.get(task_id)
            if found is not None and not found.finished:
                used = sum(known.size for known in self._logs.values()) if len(self._logs) < 64 else 0
                found.write(data, min(self._limit, found.size + max(0, self._quota - used)))

    def finish(self, task_id: str) -> None:
        with self._guard:
            found = self._logs.get(task_id)
            if found is not None and not found.finished:
                found.finish()

    def finished(self, task_id: str) -> bool:
        with self._guard:
            return task_id in self._logs and self._logs[task_id].finished

    def peek(self, task_id: str, limit: int) -> Batch:
        with self._guard:
            found = self._logs.get(task_id)
            return found.peek(limit) if found is not None else Batch(0, None, b"")

    def rebase(self, task_id: str, base: int) -> None:
        with self._guard:
            if task_id in self._logs:
                self._logs[task_id].base = base
                self._logs[task_id].save()

    def advance(self, task_id: str, offset: int) -> None:
        with self._guard:
            if task_id in self._logs:
                self._logs[task_id].offset = offset
                self._logs[task_id].save()
                self._sweep(task_id)

    def pending(self) -> Sequence[str]:
        with self._guard:
            return [task_id for task_id, found in self._logs.items() if found.offset < found.size]

    def drained(self, task_id: str) -> bool:
        with self._guard:
            return self._sweep(task_id)

    def discard(self, task_id: str) -> None:
        with self._guard:
            found = self._logs.pop(task_id, None)
            if found is not None:
                found.remove()

    def close(self) -> None:
        """Close the files; what is undelivered stays for the next start."""
        with self._guard:
            for found in self._logs.values():
                found.close()

    def _sweep(self, task_id: str) -> bool:
        found = self._logs.get(task_id)
        if found is not None and found.finished and found.offset >= found.size:
            self._logs.pop(task_id).remove()
            return True
        return found is None


class _TaskLog:
    """One task's log; its owner holds the lock."""

    def __init__(self, directory: Path, task_id: str, make_filter: Callable[[], Filter] | None) -> None:
        self._text = directory / f"{task_id}.log"
        self._positions = directory / f"{task_id}.pos"
        flags = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._text, flags, 0o600)
        self.size = os.fstat(self._descriptor).st_size
        self.offset, self.base = self._load()
        self.finished = False
        self._filter = make_filter() if make_filter else None
        self._rest = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
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
        self.finished = True

    def peek(self, limit: int) -> Batch:
        try:
            data = os.pread(self._descriptor, limit + 4, self.offset)
        except OSError as error:
            log.error("the spooled log cannot be read: %s", error)
            data = b""
        return Batch(self.offset, self.base, data[: cut_between_characters(data, limit)])

    def save(self) -> None:
        text = json.dumps({"offset": self.offset, "base": self.base})
        try:
            descriptor = os.open(self._positions, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, text.ljust(80).encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("the position in a spooled log cannot be kept: %s", error)

    def close(self) -> None:
        os.close(self._descriptor)

    def remove(self) -> None:
        os.close(self._descriptor)
        self._text.unlink(missing_ok=True)
        self._positions.unlink(missing_ok=True)

    def _load(self) -> tuple[int, int | None]:
        try:
            document = json.loads(self._positions.read_text())
            offset, base = document["offset"], document["base"]
            if isinstance(offset, int) and 0 <= offset <= self.size and (base is None or isinstance(base, int)):
                return offset, base
        except FileNotFoundError:
            return 0, None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        log.error("the position in the spooled log %s is unreadable: it is sent from its start", self._text.name)
        return 0, None

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
