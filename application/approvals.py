"""Approvals: their tasks go on at the server after the run here has ended, until somebody answers."""

from __future__ import annotations

import json
import logging

from application.ports import Approvals
from domain.errors import Refused
from domain.task import Task

log = logging.getLogger("worker.approvals")

LEFT_RUNNING = ("approval",)  # categories


def withdraw(desk: Approvals, task: Task) -> bool:
    """Let nobody answer any more what ``task`` has asked (A2); False if nothing was withdrawn. Idempotent.

    The server ends the task by itself then. Raises Unavailable.
    """
    if task.category not in LEFT_RUNNING:
        return False
    withdrawn = False
    # What the output names may be newer than the list, and the list holds what no output has told.
    for approval_id in dict.fromkeys([*filter(None, [_asked(task)]), *desk.pending_approvals(task.id)]):
        try:
            desk.cancel_approval(approval_id)
        except Refused as error:
            log.warning("who answers it later ends this task anew: %s", error, extra={"task": task.id})
        else:
            withdrawn = True
    return withdrawn


def _asked(task: Task) -> str:
    """What the run left in the task's output: it is there for every later run of the worker."""
    try:
        found = json.loads(task.output)
    except ValueError:
        return ""
    value = found.get("approval_id") if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
