"""Approvals of the modelled server: a decision, or none in time, ends their task (protocol 6.8)."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from adapters.testkit.model.replies import BAD, NO_ROUTE, NOT_FOUND, Reply, ok
from adapters.testkit.model.tasks import Row, is_uuid, stamp

if TYPE_CHECKING:
    from adapters.testkit.model.server import ServerModel

EXPIRY_EVERY = 300.0  # seconds between two looks for approvals that nobody decided
DEFAULT_TIMEOUT = 3600
# What each decision makes of the approval and of its task; the two l's are the server's.
VERDICTS = {
    "approve": ("approved", "success"),
    "reject": ("rejected", "failed"),
    "cancel": ("cancelled", "cancelled"),
    "expire": ("timeout", "timeout"),
}


def answer(model: ServerModel, method: str, rest: list[str], query: dict[str, str], body: dict[str, Any]) -> Reply:
    """``rest`` is the path behind ``/approvals/``. Nothing there ends in a verdict: it travels as ``action``."""
    match method, rest:
        case "POST", []:
            made = create(model, body)
            return (201, ok(made)) if made else BAD
        case "GET", []:
            rows = [row for row in model.approvals.values() if query.get("task_id") in (None, "", row.get("task_id"))]
            return 200, ok({"page": 1, "page_size": 10, "count": len(rows), "results": rows[::-1]})
        case ("GET", [known]) | ("POST", [known, "action"]) if known not in model.approvals:
            return NOT_FOUND
        case "GET", [known]:
            return 200, ok(model.approvals[known])
        case "POST", [known, "action"]:
            if body.get("action") not in ("approve", "reject", "cancel") or not decide(model, known, body["action"]):
                return BAD
            return 200, ok(model.approvals[known])
    return NO_ROUTE


def create(model: ServerModel, body: dict[str, Any]) -> Row | None:
    """A pending approval; None for a body that the server refuses. Not idempotent."""
    texts = {key: body.get(key) or "{}" for key in ("context", "metadata")}
    task_id = body.get("task_id")
    if not body.get("title") or body.get("team_id") == "" or not all(_holds_json(text) for text in texts.values()):
        return None
    if task_id is not None and not is_uuid(task_id):
        return None
    now = model.clock()
    seconds = body.get("timeout") or DEFAULT_TIMEOUT
    made: Row = {"id": str(uuid.uuid4()), "status": "pending", "created_by": str(uuid.UUID(int=1))} | body | texts
    made |= {"timeout": seconds, "started_at": stamp(now), "timeout_at": stamp(now + seconds)}
    model.approvals[made["id"]] = made
    model.note("approval", str(task_id or ""), approval=made["id"])
    return made


def decide(model: ServerModel, approval_id: str, verdict: str) -> bool:
    """End the approval and, whatever state it is in, its task; the worker is not told. False: decided before."""
    approval = model.approvals[approval_id]
    if approval["status"] != "pending":
        return False
    approval["status"], status = VERDICTS[verdict]
    task = model.tasks.get(approval.get("task_id") or "")
    if task is not None:
        model.end(task["id"], status)
    return True


def expire(model: ServerModel) -> None:
    now = stamp(model.clock())
    for known in [known for known, row in model.approvals.items() if row["timeout_at"] <= now]:
        decide(model, known, "expire")


def _holds_json(text: object) -> bool:
    try:
        json.loads(text if isinstance(text, str) else "")
    except ValueError:
        return False
    return True
