"""The ReadBack port over the API server's HTTP side (protocol 6.2, 6.3)."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Sequence
from typing import Any

from adapters.apiserver.answers import KeyRefused
from adapters.apiserver.client import Client
from adapters.apiserver.fields import mapping, uuid_text
from adapters.wire.messages import BadMessage, decode_task
from domain.errors import Unavailable
from domain.status import Status
from domain.task import Task

log = logging.getLogger("worker.apiserver")
_PAGE = 500


class HttpTasks:
    """Any thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

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


def _readable(results: list[Any]) -> list[Task]:
    tasks = []
    for item in results:
        try:
            tasks.append(decode_task(item))
        except BadMessage as error:
            log.warning("a task in the server's list is left out: %s", error)
    return tasks
