"""The Coordination port over the API server's HTTP side (protocol 6)."""

from __future__ import annotations

import logging
import math
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.apiserver.answers import BadRequest, KeyRefused, UnknownRoute
from adapters.apiserver.http import ApiClient
from adapters.apiserver.memory import MemoryApiClient
from adapters.wire.endpoints import path_part
from adapters.wire.messages import BadMessage, decode_task
from application.ports import Category, Identity
from domain.errors import NotFound, Refused, Unavailable
from domain.runner import Approval, Credential
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.apiserver")
_PAGE = 500
_REMEMBERED_APPROVALS = 1000
# The server pastes the value into a script: nothing but what it hands out may go back (protocol 6.1).
_LOCK_VALUE = re.compile(r"[0-9A-Za-z_-]{1,128}")


class HttpCoordination:
    """Locks, tasks, logs, categories, credentials and approvals. Any thread."""

    keeps_running = True  # nothing on the server sets a running task back, whatever its lock does

    def __init__(self, client: ApiClient | MemoryApiClient) -> None:
        self._client = client
        self._approvals: OrderedDict[str, str] = OrderedDict()
        self._guard = threading.Lock()

    def abandon(self) -> None:
        self._client.close()

    # -- locks: no slash at the end of these paths, all of them GET ----------------------------------------------

    def acquire(self, key: str, ttl: float, timeout: float) -> str | None:
        query = {"key": key, "expire": _seconds(ttl)}
        data = _mapping("lock", self._client.get("/lock/acquire", query, timeout=timeout, repeatable=False))
        if data.get("success") is False:
            return None
        value = data.get("value")
        if data.get("success") is not True or not isinstance(value, str) or not _LOCK_VALUE.fullmatch(value):
            raise Unavailable("GET /lock/acquire: the answer tells neither success nor failure")
        return value

    def refresh(self, key: str, value: str, ttl: float, timeout: float) -> bool:
        if not _LOCK_VALUE.fullmatch(value):
            return False
        query = {"key": key, "value": value, "expire": _seconds(ttl)}
        try:
            data = _mapping("lock", self._client.get("/lock/refresh", query, timeout=timeout))
        except BadRequest:  # the parameters are always there, so 400 means: not the owner
            return False
        except (Refused, NotFound) as error:  # a refused key says nothing about the lock
            raise Unavailable(str(error)) from None
        return data.get("success") is True

    def release(self, key: str, value: str, timeout: float) -> bool:
        if not _LOCK_VALUE.fullmatch(value):
            return False
        try:
            self._client.get("/lock/release", {"key": key, "value": value}, timeout=timeout)
        except Unavailable as error:
            if "not owned" in str(error) or "already released" in str(error):
                return False
            raise
        except (Refused, NotFound) as error:
            raise Unavailable(str(error)) from None
        return True

    # -- tasks ---------------------------------------------------------------------------------------------------

    def fetch(self, task_id: str) -> Task:
        try:
            data = self._client.get(f"/task/{_uuid(task_id)}/")
        except KeyRefused as error:  # it says nothing about the task, whose result must outlive the key's rotation
            raise Unavailable(str(error)) from None
        try:
            task = decode_task(data)
        except BadMessage as error:
            raise Unavailable(f"GET /task/{task_id}/: {error}") from None
        if uuid.UUID(task.id) != uuid.UUID(task_id):
            raise Unavailable(f"GET /task/{task_id}/: the answer is about another task")
        return task

    def of_worker(self, worker_id: str, status: Status | None, limit: int) -> Sequence[Task]:
        tasks: list[Task] = []
        seen = 0
        for page in range(1, math.ceil(limit / _PAGE) + 1):
            query = {"worker_id": worker_id, "page": str(page), "page_size": str(min(limit, _PAGE))}
            query |= {"ordering": "-created_at"} | ({"status": status.value} if status else {})
            data = _mapping("list", self._client.get("/task/", query))
            results = data.get("results") or []
            if not isinstance(results, list):
                raise Unavailable("GET /task/: results is not a list")
            tasks += _readable(results)
            seen += len(results)
            count = data.get("count")
            if not results or not isinstance(count, int) or seen >= count:
                break
        return tasks[:limit]

    def registered(self, worker_id: str, timeout: float | None = None) -> Identity:
        """How the server knows a worker: its name and its categories. Raises NotFound, Unavailable, Refused."""
        data = _mapping("worker", self._client.get(f"/worker/{_uuid(worker_id)}/", timeout=timeout))
        metadata = data.get("metadata")
        tasks = metadata.get("tasks") if isinstance(metadata, Mapping) else None
        codes = tuple(code for code in tasks if isinstance(code, str)) if isinstance(tasks, list) else ()
        return Identity(_text(data, "id"), _text(data, "name"), _text(data, "description"), tasks=codes)

    # -- task logs -----------------------------------------------------------------------------------------------

    def append(self, task_id: str, text: str) -> int:
        content = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no place in JSON
        try:
            data = self._client.post(f"/tasklog/{_uuid(task_id)}/append/", {"storage": "", "content": content})
        except KeyRefused as error:  # the text must outlive a key that is being rotated
            raise Unavailable(str(error)) from None
        size = _size(data)
        if size <= 0:
            raise Unavailable(f"POST /tasklog/{task_id}/append/: the answer tells no size")
        return size

    def size(self, task_id: str) -> int:
        try:
            data = self._client.get(f"/tasklog/{_uuid(task_id)}/content/")
        except NotFound:
            return 0
        except KeyRefused as error:
            raise Unavailable(str(error)) from None
        size = _size(data)
        if size < 0:
            raise Unavailable(f"GET /tasklog/{task_id}/content/: the answer tells no size")
        return size

    # -- categories, credentials -------------------------------------------------------------------------------------

    def category(self, code: str) -> Category:
        if not code or code in (".", ".."):
            raise NotFound(f"there is no category {code!r}")
        data = _mapping("category", self._client.get(f"/category/{path_part(code)}/"))
        return Category(code, _text(data, "check"), _text(data, "setup"), _text(data, "teardown"))

    def credential(self, credential_id: str) -> Credential:
        call = f"/credentials/{_uuid(credential_id)}/decrypt/"
        data = _mapping("credential", self._client.post(call, repeatable=True))
        if data.get("is_active") is not True:
            raise Refused(f"the credential {credential_id} is not active")
        value = data.get("value")
        if not isinstance(value, Mapping):
            raise Refused(f"the credential {credential_id} holds no fields")
        return Credential(credential_id, _text(data, "category"), _text(data, "name"), dict(value))

    # -- approvals -----------------------------------------------------------------------------------------------

    def create_approval(self, task_id: str, approval: Approval) -> str:
        """As the port says, as far as this process remembers: the server offers no look-up by task (protocol 6.8)."""
        with self._guard:
            known = self._approvals.get(task_id)
        if known is not None:
            return known
        data = _mapping("approval", self._client.post("/approvals/", _approval_document(_uuid(task_id), approval)))
        approval_id = _text(data, "id")
        if not approval_id:
            raise Unavailable("POST /approvals/: the answer holds no id")
        with self._guard:
            self._approvals[task_id] = approval_id
            while len(self._approvals) > _REMEMBERED_APPROVALS:
                self._approvals.popitem(last=False)
        return approval_id

    def cancel_approval(self, approval_id: str) -> None:
        with self._guard:
            for task_id in [known for known, its in self._approvals.items() if its == approval_id]:
                del self._approvals[task_id]  # a later attempt of the task asks anew
        try:
            self._client.post(f"/approvals/{_uuid(approval_id)}/cancel/", repeatable=True)
        except KeyRefused as error:  # the question must not stay open because the key is being rotated
            raise Unavailable(str(error)) from None
        except (NotFound, UnknownRoute):
            log.info("approval %s cannot be withdrawn: the server does not know it", approval_id)
        except Refused as error:
            log.info("approval %s was not withdrawn: %s", approval_id, error)


def _approval_document(task_id: str, approval: Approval) -> dict[str, Any]:
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


def _readable(results: list[Any]) -> list[Task]:
    tasks = []
    for item in results:
        try:
            tasks.append(decode_task(item))
        except BadMessage as error:
            log.warning("a task in the server's list is left out: %s", error)
    return tasks


def _seconds(ttl: float) -> str:
    return str(max(1, math.ceil(ttl)))


def _uuid(text: str) -> str:
    """An id that may stand in a path; the server's ids are all uuids."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Refused(f"{text[:40]!r} is not a uuid") from None


def _mapping(what: str, data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise Unavailable(f"the server's answer holds no {what}")
    return data


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _size(data: Any) -> int:
    size = data.get("size") if isinstance(data, Mapping) else None
    return size if isinstance(size, int) and not isinstance(size, bool) else -1
