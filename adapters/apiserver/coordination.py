"""The Coordination port over the API server's HTTP side (protocol 6)."""

from __future__ import annotations

import logging
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.apiserver.answers import BadRequest, KeyRefused
from adapters.apiserver.approvals import HttpApprovals
from adapters.apiserver.fields import mapping, text, uuid_text
from adapters.apiserver.http import ApiClient
from adapters.apiserver.task_logs import HttpTaskLogs
from adapters.testkit.model.client import MemoryApiClient
from adapters.wire.endpoints import path_part
from adapters.wire.messages import BadMessage, decode_task
from application.ports import Category, Identity
from domain.errors import NotFound, Refused, Unavailable
from domain.runner import Credential
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.apiserver")
_PAGE = 500
# The server pastes the value into a script: nothing but what it hands out may go back (protocol 6.1).
_LOCK_VALUE = re.compile(r"[0-9A-Za-z_-]{1,128}")


class HttpCoordination(HttpTaskLogs, HttpApprovals):
    """Locks, tasks, logs, categories, credentials and approvals. Any thread."""

    keeps_running = True  # nothing on the server sets a running task back, whatever its lock does

    def __init__(self, client: ApiClient | MemoryApiClient) -> None:
        HttpTaskLogs.__init__(self, client)
        HttpApprovals.__init__(self, client)

    def abandon(self) -> None:
        self._client.close()

    # -- locks: no slash at the end of these paths, all of them GET ----------------------------------------------

    def acquire(self, key: str, ttl: float, timeout: float) -> str | None:
        query = {"key": key, "expire": _seconds(ttl)}
        data = mapping("lock", self._client.get("/lock/acquire", query, timeout=timeout, repeatable=False))
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
            data = mapping("lock", self._client.get("/lock/refresh", query, timeout=timeout))
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
            data = self._client.get(f"/task/{uuid_text(task_id)}/")
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
            data = mapping("list", self._client.get("/task/", query))
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
        data = mapping("worker", self._client.get(f"/worker/{uuid_text(worker_id)}/", timeout=timeout))
        metadata = data.get("metadata")
        tasks = metadata.get("tasks") if isinstance(metadata, Mapping) else None
        codes = tuple(code for code in tasks if isinstance(code, str)) if isinstance(tasks, list) else ()
        return Identity(text(data, "id"), text(data, "name"), text(data, "description"), tasks=codes)

    # -- categories, credentials -------------------------------------------------------------------------------------

    def category(self, code: str) -> Category:
        if not code or code in (".", ".."):
            raise NotFound(f"there is no category {code!r}")
        data = mapping("category", self._client.get(f"/category/{path_part(code)}/"))
        return Category(code, text(data, "check"), text(data, "setup"), text(data, "teardown"))

    def credential(self, credential_id: str) -> Credential:
        call = f"/credentials/{uuid_text(credential_id)}/decrypt/"
        data = mapping("credential", self._client.post(call, repeatable=True))
        if data.get("is_active") is not True:
            raise Refused(f"the credential {credential_id} is not active")
        value = data.get("value")
        if not isinstance(value, Mapping):
            raise Refused(f"the credential {credential_id} holds no fields")
        return Credential(credential_id, text(data, "category"), text(data, "name"), dict(value))


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
