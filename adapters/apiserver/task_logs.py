"""The TaskLogs port over the API server's HTTP side (protocol 6.5).

An append is not idempotent there: one whose answer is missing may have been applied, or not, or may have destroyed what
the log had. Such a log is doubtful: before more is appended, and at its end, it is read, compared, and put right.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from adapters.apiserver.answers import BadRequest, KeyRefused
from adapters.apiserver.client import Client
from adapters.apiserver.fields import mapping, size, uuid_text
from adapters.apiserver.log_comparison import Others, compare
from application.ports import LogPiece, Taken
from domain.errors import CoordinationError, NotFound, Refused, Unavailable

log = logging.getLogger("worker.apiserver")

# Who leaves a slow server in the middle of an append destroys the log: as long as the server's own limit.
PATIENCE = 30.0  # seconds
SETTLE = 2.0  # seconds after trouble in which the server may still be about a request that was given up
REPAIRS = 5  # of an ended log, until it is given up and told
WINDOW = 64 * 1024  # bytes behind what is sure that may have been sent without an answer


@dataclass(slots=True)
class _Known:
    """What this process knows of one task's log at the server; ``base`` bytes of others stand before ours."""

    base: int | None
    doubtful: bool
    torn: bool = True  # where the log is doubtful: not compared with the server's since
    repairs: int = 0  # since the last failure, of a log that has ended
    trouble: bool = False  # the last call for it failed
    settled_at: float = 0.0
    others: Others | None = None


class HttpTaskLogs:
    """Every 400 but the server's fixed words for a bad request is its own trouble. Any thread, one at a time a task."""

    def __init__(self, client: Client, now: Callable[[], float]) -> None:
        """``now`` is a clock in seconds that never jumps."""
        self._client = client
        self._now = now
        self._logs: dict[str, _Known] = {}

    def append(self, piece: LogPiece) -> Taken:
        known = self._logs.get(piece.task_id)
        if known is None:
            mark, inherited = piece.history.mark(), piece.history.inherited()
            known = self._logs[piece.task_id] = _Known(int(mark) if mark else None, inherited)
        try:
            taken = self._append(piece, known)
        except (NotFound, Refused):
            del self._logs[piece.task_id]
            raise
        except CoordinationError:
            known.doubtful, known.torn, known.repairs, known.trouble = True, True, 0, True
            raise
        if known.trouble:
            known.trouble, known.settled_at = False, self._now() + SETTLE
        if piece.ended and taken.settled and taken.offset >= piece.end:
            del self._logs[piece.task_id]
        return taken

    def _append(self, piece: LogPiece, known: _Known) -> Taken:
        if known.doubtful and (known.torn or (piece.ended and not piece.data)):
            return self._mend(piece, known)
        if not piece.data:
            return Taken(piece.offset)
        total = self._post(piece.task_id, piece.data.decode("utf-8", "replace"))
        more = total - piece.end - (known.base or 0)  # than was sure before
        if more < 0 or (more and known.doubtful):
            known.doubtful = known.torn = True
            known.settled_at = self._now() + SETTLE
            return Taken(piece.offset, settled=False)
        if more or known.base is None:
            self._remember(piece, known, total - piece.end)
        if more:
            known.others = self._others(piece)
        return Taken(piece.end, settled=not known.doubtful)

    def _others(self, piece: LogPiece) -> Others | None:
        """Somebody else has written to this log: kept, so that it can be put right with what they wrote."""
        try:
            held = self.read(piece.task_id)
        except CoordinationError:
            return None
        if held is None or not held.endswith(piece.data):
            return None
        return Others(held[: len(held) - len(piece.data)], piece.offset)

    def _mend(self, piece: LogPiece, known: _Known) -> Taken:
        """Compare, and write anew what is not as it should be; what only lacks its end is appended to."""
        task_id, ours, held = piece.task_id, piece.history.text(), self.read(piece.task_id)
        others = compare(held or b"", ours, piece.offset, known.base, known.others, WINDOW)
        known.others, whole = others, others.whole(ours)
        nothing_yet = held is None and known.base is None
        self._remember(piece, known, others.base)  # kept before anything is written
        if nothing_yet:  # of others neither
            return self._place(piece, known, 0, 0)
        if held is not None and whole.startswith(held) and len(held) >= max(len(others.text), len(whole) - WINDOW):
            taken = self._place(piece, known, others.base, others.start + len(held) - len(others.text))
        else:
            taken = self._write_anew(piece, known, whole, len(ours))
            known.repairs += piece.ended
        given_up = known.repairs > REPAIRS
        if given_up:
            log.warning("the server keeps another text than it was sent", extra={"task": task_id})
        if piece.ended and (held == whole or given_up):
            if known.trouble or self._now() < known.settled_at:
                return Taken(taken.offset, settled=False, after=SETTLE)
            return Taken(taken.offset)
        return taken

    def _write_anew(self, piece: LogPiece, known: _Known, whole: bytes, length: int) -> Taken:
        """The next look tells what came of it."""
        try:
            self._put(piece.task_id, whole.decode("utf-8", "replace"))
        except NotFound:  # gone, or the server cannot look: an append begins it again, and tells which of the two
            return self._place(piece, known, 0, 0)
        torn = known.torn
        taken = self._place(piece, known, len(whole) - length, length)
        known.torn = torn
        return taken

    def _place(self, piece: LogPiece, known: _Known, base: int, offset: int) -> Taken:
        self._remember(piece, known, base)
        known.torn = False
        return Taken(offset, settled=False)

    def _remember(self, piece: LogPiece, known: _Known, base: int) -> None:
        known.base = base
        piece.history.remember(str(base))

    # -- the requests -------------------------------------------------------------------------------------------------

    def read(self, task_id: str) -> bytes | None:
        """The whole log, None if there is none. Raises Unavailable, Refused."""
        path = f"/tasklog/{uuid_text(task_id)}/content/"
        try:
            data = mapping("log", self._client.get(path, timeout=PATIENCE))
        except NotFound:
            return None
        except (BadRequest, KeyRefused) as error:
            raise _judged(error) from None
        content = data.get("content")
        if not isinstance(content, str):
            raise Unavailable(f"GET {path}: the answer holds no text")
        return content.encode("utf-8", "replace")

    def _post(self, task_id: str, text: str) -> int:
        path = f"/tasklog/{uuid_text(task_id)}/append/"
        try:
            data = self._client.post(path, {"storage": "", "content": text}, timeout=PATIENCE)
        except (BadRequest, KeyRefused) as error:  # the text must outlive a key that is being rotated
            raise _judged(error) from None
        total = size(data)
        if total <= 0:
            raise Unavailable(f"POST {path}: the answer tells no size")
        return total

    def _put(self, task_id: str, text: str) -> None:
        path = f"/tasklog/{uuid_text(task_id)}/content/"
        try:
            self._client.put(path, {"content": text}, timeout=PATIENCE)
        except (BadRequest, KeyRefused) as error:
            raise _judged(error) from None


def _judged(error: BadRequest | KeyRefused) -> Exception:
    final = isinstance(error, BadRequest) and any(words in str(error) for words in ("请求参数错误", "required"))
    return error if final else Unavailable(str(error))
