"""The tasks table of the modelled server: what an update may change (protocol 5.3, 5.4, 7.1)."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

OUTPUT_LIMIT = 65_535
NAME_LIMIT = 256
ACCEPTED = frozenset({"pending", "running", "success", "failed", "error", "timeout", "canceled", "stopped", "retrying"})
ENDS = ACCEPTED - {"pending", "running"}
PATCHED = ("cronjob", "next", "status", "worker_id", "worker_name", "time_start", "time_end", "is_standalone", "output",
           "is_group", "task_order", "timeout")  # fmt: skip
CANCEL_AFTER = 60.0  # seconds past its timeout before a running task may be cancelled
NO_TIMEOUT = 86_400.0
_LONE = re.compile("[\ud800-\udfff]")

Row = dict[str, Any]


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def parse(data: bytes) -> Any:
    """JSON as Go reads it: bytes that are no UTF-8 and lone surrogates become U+FFFD. Raises ValueError."""
    document = json.loads(data.decode("utf-8", "replace"))
    return _mend(document) if b"\\ud" in data.lower() else document


def _mend(value: Any) -> Any:
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {_mend(key): _mend(item) for key, item in value.items()}
    return value


def new_task(now: float, **fields: Any) -> Row:
    """A row with every key the server sends; ``fields`` override. ``now`` is seconds since 1970."""
    row: Row = {
        "id": str(uuid.uuid4()), "team_id": None, "project": "default", "category": "command", "cronjob": None,
        "workflow": None, "workflow_exec_id": None, "step_order": 0, "name": "task", "is_group": False, "task_order": 0,
        "previous": None, "next": None, "command": "true", "args": "", "description": "", "time_plan": stamp(now),
        "timeout_at": stamp(now + 86_400), "time_start": None, "time_end": None, "status": "pending", "output": "",
        "save_log": True, "retry_count": 0, "max_retry": 0, "is_standalone": True, "timeout": 0, "metadata": None,
        "failure_reason": "", "retryable": None, "next_retry_time": None, "is_retry": False, "condition": "",
        "parallel_group": "", "wait_strategy": "all", "failure_strategy": "continue", "created_at": stamp(now),
        "updated_at": stamp(now), "deleted": False,
    }  # fmt: skip
    return row | fields


def apply_update(row: Row, data: Row, now: float) -> str:
    """Change ``row`` as one UPDATE statement would; returns why nothing was changed, or an empty text."""
    if row["time_end"] is not None:
        return "finished"
    change: Row = {}
    status = data.get("status")
    if isinstance(status, str) and status in ACCEPTED:
        change["status"] = status
        if status == "running":
            change["time_start"] = stamp(now)
        elif status in ENDS:
            change["time_end"] = stamp(now)
            if status in ("failed", "error"):
                change["failure_reason"] = classify(status, data)
            elif status == "timeout":
                change["failure_reason"] = "timeout"
    if isinstance(data.get("output"), str):
        change["output"] = data["output"]
    for key in ("worker_id", "next"):
        if is_uuid(data.get(key)):
            change[key] = data[key]
    if isinstance(data.get("worker_name"), str):
        change["worker_name"] = data["worker_name"]
    if not change:
        return "empty"
    # One value too long loses the whole statement, the status with it.
    if len(change.get("output", "").encode("utf-8", "replace")) > OUTPUT_LIMIT:
        return "too long"
    if len(change.get("worker_name", "")) > NAME_LIMIT:
        return "too long"
    row |= change
    row["updated_at"] = stamp(now)
    return ""


def apply_patch(row: Row, body: Row, now: float) -> bool:
    """``PATCH /task/{id}/``: overwrites even an end and sets no times by itself (protocol 6.4). False: refused."""
    status = body.get("status")
    if status is not None and not (isinstance(status, str) and status in ACCEPTED):
        return False
    row |= {key: body[key] for key in PATCHED if key in body} | {"updated_at": stamp(now)}
    return True


def may_cancel(row: Row, now: float) -> bool:
    """Pending, or running for longer than a worker could need (protocol 7.1)."""
    if row["status"] == "running":
        began = datetime.fromisoformat(row["time_start"]).timestamp()
        return now - began > (row["timeout"] + CANCEL_AFTER if row["timeout"] else NO_TIMEOUT)
    return bool(row["status"] == "pending")


def classify(status: str, data: Row) -> str:
    error, output = data.get("error"), data.get("output")
    text = (error if isinstance(error, str) and error else output if isinstance(output, str) else "").lower()
    for words, verdict in (
        (("connection", "network", "timeout", "dial"), "network_error"),
        (("worker", "killed", "signal"), "worker_error"),
        (("exit status", "command", "exec"), "command_error"),
    ):
        if any(word in text for word in words):
            return verdict
    return "worker_error" if status == "error" else "command_error"


def on_the_wire(row: Row) -> Row:
    """A row as the server sends it: worker_id and worker_name are left out where they are not set."""
    return json.loads(json.dumps({k: v for k, v in row.items() if k not in ("worker_id", "worker_name") or v}))  # type: ignore[no-any-return]


def is_uuid(value: object) -> bool:
    try:
        uuid.UUID(str(value))
    except ValueError:
        return False
    return isinstance(value, str)
