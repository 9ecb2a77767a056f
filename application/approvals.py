"""Approvals: their tasks go on at the server after the run here has ended, until somebody answers."""

from __future__ import annotations

import json

from domain.runner import ApprovalDesk
from domain.task import Task

LEFT_RUNNING = ("approval",)  # categories


def withdraw(desk: ApprovalDesk, task: Task) -> bool:
    """Let nobody answer any more what ``task`` has asked (A2); False if it has asked nothing. Idempotent.

    The server ends the task by itself then. Raises CoordinationError.
    """
    approval_id = _asked(task) if task.category in LEFT_RUNNING else ""
    if approval_id:
        desk.cancel_approval(approval_id)
    return bool(approval_id)


def _asked(task: Task) -> str:
    """What the run left in the task's output: it is there for every later life of the worker."""
    try:
        found = json.loads(task.output)
    except ValueError:
        return ""
    value = found.get("approval_id") if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
