"""A Result becomes the Report the server stores (runners' output rules)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from application.ports import Report, Verb
from domain.result import EndReason, Result
from domain.status import Status

TEXT_LIMIT = 10_240  # bytes of plain text, as tasks know it
LONE = re.compile("[\ud800-\udfff]")
SUFFIX = "... (truncated)"
LOG_TAIL = 4_096
EMPTY = {Status.SUCCESS: "执行成功", Status.RUNNING: "任务正在进行中"}


class Reporter:
    """Makes reports. ``redact`` takes secrets out of text; ``limit`` bounds the output in UTF-8 bytes."""

    def __init__(self, redact: Callable[[str], str], limit: int) -> None:
        self._redact = redact
        self._limit = limit

    def final(self, task_id: str, result: Result) -> Report:
        """The report of a run's end. A result that is still ``running`` (approval) is progress."""
        goes_on = result.status is Status.RUNNING
        return Report(
            task_id,
            Verb.PROGRESS if goes_on else Verb.ENDED,
            None if goes_on else result.status,
            None if goes_on else result.end_reason,
            output=self._redact(whole(output_for(result, self._limit))),
            execute_log=cut_tail(self._redact(whole(result.execute_log)), LOG_TAIL),
            error=cut_head(self._redact(whole(result.error)), LOG_TAIL),
            duration=result.duration,
            exit_code=result.exit_code,
            started_at=result.start.isoformat(timespec="milliseconds") if result.start else "",
            ended_at=result.end.isoformat(timespec="milliseconds") if result.end else "",
        )

    def without_run(self, task_id: str, reason: EndReason, error: str) -> Report:
        """The report of a task that ended without having run here, or whose run is lost."""
        result = Result(reason.status, reason, error=error, exit_code=-1)
        return self.final(task_id, result)


def output_for(result: Result, limit: int) -> str:
    """A JSON object as text, at most ``limit`` bytes, with ``exit_code`` always in it.

    A JSON object that the task printed passes with its own keys, which nothing overwrites; where the task failed, why
    is added. Everything else is wrapped, blanks and line breaks included: a later task may need them.
    """
    text = result.output.strip()
    own = _object(text)
    if own is not None:
        added = {key: value for key, value in _outcome(result).items() if key not in own}
        passed = _dump(own | added) if added else text
        if len(passed.encode("utf-8", "replace")) <= limit:
            return passed
    return _wrap(result, limit)


def _outcome(result: Result) -> dict[str, Any]:
    outcome: dict[str, Any] = {"exit_code": result.exit_code}
    if result.status not in (Status.SUCCESS, Status.RUNNING):
        if result.error:
            outcome["error"] = cut_head(result.error, 2_000)
        outcome["end_reason"] = result.end_reason.value
    return outcome


def _wrap(result: Result, limit: int) -> str:
    document = _outcome(result)
    if result.duration > 0:
        document["duration_ms"] = result.duration
    message = result.output or EMPTY.get(result.status, "执行失败")
    room = TEXT_LIMIT
    while True:
        short = cut_head(message, room)
        cut = {"truncated": True} if result.truncated or short != message else {}
        wrapped = _dump({"message": short + SUFFIX if short != message else short} | cut | document)
        if len(wrapped.encode("utf-8", "replace")) <= limit or room < 64:
            return wrapped
        room //= 2  # escapes made it longer than the text


def _object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON, and no server would read it")


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def whole(text: str) -> str:
    """The text with U+FFFD for halves of characters, which nothing can store or send."""
    return text if text.isascii() else LONE.sub("\N{REPLACEMENT CHARACTER}", text)


def cut_head(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8 from the start, whole characters only."""
    data = text.encode("utf-8", "replace")
    return data[:limit].decode("utf-8", "ignore") if len(data) > limit else text


def cut_tail(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8 from the end, whole characters only."""
    data = text.encode("utf-8", "replace")
    return data[-limit:].decode("utf-8", "ignore") if len(data) > limit else text
