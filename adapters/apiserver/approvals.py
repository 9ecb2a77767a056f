"""Questions to people, over the API server's HTTP side (protocol 6.8)."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.apiserver.answers import KeyRefused, UnknownRoute
from adapters.apiserver.client import Client
from adapters.apiserver.fields import mapping, text, uuid_text
from domain.errors import NotFound, Refused, Unavailable
from domain.runner import Approval

log = logging.getLogger("worker.apiserver")
_REMEMBERED = 1000


class HttpApprovals:
    """Asks once for each task, also where the answer to the asking was lost or a previous run has asked. Any thread."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: OrderedDict[str, str] = OrderedDict()
        self._guard = threading.Lock()

    def create_approval(self, task_id: str, approval: Approval) -> str:
        with self._guard:
            known = self._asked.get(task_id)
        if known is not None:
            return known
        approval_id = self._latest(task_id) or self._ask(task_id, approval)
        with self._guard:
            self._asked[task_id] = approval_id
            while len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)
        return approval_id

    def pending_approvals(self, task_id: str) -> Sequence[str]:
        try:
            data = mapping("approvals", self._client.get("/approvals/", {"task_id": uuid_text(task_id)}))
        except KeyRefused as error:  # the question must not stay open because the key is being rotated
            raise Unavailable(str(error)) from None
        except (UnknownRoute, NotFound, Refused) as error:
            log.debug("approvals cannot be looked for by their task: %s", error)
            return []
        rows = data.get("results") or []
        if not isinstance(rows, list):
            raise Unavailable("GET /approvals/: results is not a list")
        return [text(row, "id") for row in rows if _is_open(row, task_id) and text(row, "id")]

    def cancel_approval(self, approval_id: str) -> None:
        with self._guard:
            for task_id in [known for known, its in self._asked.items() if its == approval_id]:
                del self._asked[task_id]  # a later attempt of the task asks anew
        path = f"/approvals/{uuid_text(approval_id)}/action/"
        try:
            self._client.post(path, {"action": "cancel"}, repeatable=True)
        except KeyRefused as error:
            raise Unavailable(str(error)) from None
        except UnknownRoute as error:
            raise Refused(f"the approval {approval_id} stays open: {error}") from None
        except NotFound:
            log.info("approval %s cannot be withdrawn: the server does not know it", approval_id)
        except Refused as error:
            log.warning("approval %s was not withdrawn, perhaps it was answered before: %s", approval_id, error)

    def _latest(self, task_id: str) -> str | None:
        return next(iter(self.pending_approvals(task_id)), None)

    def _ask(self, task_id: str, approval: Approval) -> str:
        try:
            data = mapping("approval", self._client.post("/approvals/", _document(uuid_text(task_id), approval)))
        except Unavailable:  # it may have been taken all the same, and then somebody may answer it
            if (found := self._latest(task_id)) is None:
                raise
            return found
        approval_id = text(data, "id")
        if not approval_id:
            raise Unavailable("POST /approvals/: the answer holds no id")
        return approval_id


def _is_open(row: object, task_id: str) -> bool:
    """A server that does not filter lists the approvals of others too."""
    return isinstance(row, Mapping) and row.get("task_id") == task_id and row.get("status") == "pending"


def _document(task_id: str, approval: Approval) -> dict[str, Any]:
    workflow = {"workflow_exec_id": approval.workflow_exec_id} if approval.workflow_exec_id else {}
    return workflow | {
        "title": approval.title,
        "content": approval.content,
        "context": approval.context or "{}",
        "user_ids": list(approval.user_ids),
        "ai_agent_ids": list(approval.ai_agent_ids),
        "require_all": approval.require_all,
        "timeout": approval.timeout,
        "metadata": approval.metadata or "{}",
        "task_id": task_id,
    }
