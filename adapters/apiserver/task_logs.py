"""The TaskLogs port over the API server's HTTP side (protocol 6.5)."""

from __future__ import annotations

from adapters.apiserver.answers import KeyRefused
from adapters.apiserver.fields import size, uuid_text
from adapters.apiserver.http import ApiClient
from adapters.apiserver.memory import MemoryApiClient
from domain.errors import NotFound, Unavailable


class HttpTaskLogs:
    def __init__(self, client: ApiClient | MemoryApiClient) -> None:
        self._client = client

    def append(self, task_id: str, text: str) -> int:
        content = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no place in JSON
        try:
            data = self._client.post(f"/tasklog/{uuid_text(task_id)}/append/", {"storage": "", "content": content})
        except KeyRefused as error:  # the text must outlive a key that is being rotated
            raise Unavailable(str(error)) from None
        total = size(data)
        if total <= 0:
            raise Unavailable(f"POST /tasklog/{task_id}/append/: the answer tells no size")
        return total

    def size(self, task_id: str) -> int:
        try:
            data = self._client.get(f"/tasklog/{uuid_text(task_id)}/content/")
        except NotFound:
            return 0
        except KeyRefused as error:
            raise Unavailable(str(error)) from None
        total = size(data)
        if total < 0:
            raise Unavailable(f"GET /tasklog/{task_id}/content/: the answer tells no size")
        return total
