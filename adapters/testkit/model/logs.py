"""The task logs of the modelled server: a file and a row for each, which need not agree (protocol 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.testkit.model.replies import BAD, DATABASE, NO_DATABASE, NO_ROUTE, NOT_FOUND, Reply, ok
from adapters.testkit.model.tasks import is_uuid

if TYPE_CHECKING:
    from adapters.testkit.model.server import ServerModel

STORAGES = ("", "db", "file", "s3")


def append(model: ServerModel, task_id: str, body: dict[str, Any], left: bool) -> Reply:
    """Add to a log; where the row cannot be looked up, the file is written anew, and what it held is lost.

    ``left``: the client is gone, which cancels the look-up, and the row keeps the size that it had.
    """
    content = body.get("content")
    if not isinstance(content, str) or not content:
        model.note("empty append", task_id)
        return BAD
    if body.get("storage", "") not in STORAGES or body.get("task_id", task_id) != task_id:
        return BAD
    blind = left or DATABASE in model.away
    before = "" if blind or task_id not in model.log_sizes else model.logs.get(task_id, "")
    model.logs[task_id] = before + content
    size = _size(model.logs[task_id])
    if blind:
        model.note("log overwritten", task_id, size=size)
        return NO_DATABASE
    model.log_sizes[task_id] = size
    model.note("append", task_id, length=_size(content), size=size)
    return 200, ok({"task_id": task_id, "storage": "file", "path": f"logs/{task_id}.log", "size": size})


def read(model: ServerModel, task_id: str) -> Reply:
    """The file's text with the row's size. A row that cannot be looked up counts as none."""
    if DATABASE in model.away or task_id not in model.log_sizes:
        return NOT_FOUND
    return 200, ok({"task_id": task_id, "content": model.logs.get(task_id, ""), "size": model.log_sizes[task_id]})


def replace(model: ServerModel, task_id: str, body: dict[str, Any]) -> Reply:
    """Write a whole log anew."""
    content = body.get("content")
    if DATABASE in model.away:
        return NO_DATABASE
    if not isinstance(content, str):
        return BAD
    if task_id not in model.log_sizes:
        return NOT_FOUND
    model.logs[task_id], model.log_sizes[task_id] = content, _size(content)
    model.note("log replaced", task_id, size=_size(content))
    return 200, ok({"task_id": task_id, "size": _size(content)})


def answer(model: ServerModel, method: str, rest: list[str], body: dict[str, Any], left: bool) -> Reply:
    """``rest`` is the path behind ``/tasklog/``. A client that ``left`` had its look-ups cancelled."""
    if not is_uuid(rest[0]):
        return BAD
    match method, rest:
        case "POST", [task_id, "append"]:
            return append(model, task_id, body, left)
        case "PUT", [task_id, "content"]:
            return NOT_FOUND if left else replace(model, task_id, body)
        case ("GET", [task_id]) | ("GET", [task_id, "content"]):
            return read(model, task_id)
    return NO_ROUTE


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
