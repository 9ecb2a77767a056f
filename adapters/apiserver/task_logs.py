"""The TaskLogs port over the API server's HTTP side (protocol 6.5)."""

from __future__ import annotations

from adapters.apiserver.answers import BadRequest, KeyRefused
from adapters.apiserver.fields import mapping, size, uuid_text
from adapters.apiserver.http import ApiClient
from adapters.testkit.model.client import MemoryApiClient
from domain.errors import NotFound, Unavailable

# Who leaves a slow server in the middle of an append destroys the log: as long as the server's own limit.
PATIENCE = 30.0  # seconds


class HttpTaskLogs:
    """Every 400 but the server's fixed words for a bad request is its own trouble. Any thread."""

    def __init__(self, client: ApiClient | MemoryApiClient) -> None:
        self._client = client

    def append(self, task_id: str, text: str) -> int:
        path = f"/tasklog/{uuid_text(task_id)}/append/"
        try:
            data = self._client.post(path, {"storage": "", "content": _valid(text)}, timeout=PATIENCE)
        except (BadRequest, KeyRefused) as error:  # the text must outlive a key that is being rotated
            raise _judged(error) from None
        total = size(data)
        if total <= 0:
            raise Unavailable(f"POST {path}: the answer tells no size")
        return total

    def read(self, task_id: str) -> bytes | None:
        path = f"/tasklog/{uuid_text(task_id)}/content/"
        try:
            data = mapping("log", self._client.get(path, timeout=PATIENCE))
        except NotFound:
            return None
        except (BadRequest, KeyRefused) as error:
            raise _judged(error) from None
        content = data.get("content")
        if not isinstance(content, str):
            raise Unavailable(f"GET {path}: the answer holds no text")
        return content.encode("utf-8", "replace")

    def replace(self, task_id: str, text: str) -> None:
        path = f"/tasklog/{uuid_text(task_id)}/content/"
        try:
            self._client.put(path, {"content": _valid(text)}, timeout=PATIENCE)
        except (BadRequest, KeyRefused) as error:
            raise _judged(error) from None


def _valid(text: str) -> str:
    """A lone surrogate has no place in JSON."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _judged(error: BadRequest | KeyRefused) -> Exception:
    final = isinstance(error, BadRequest) and any(words in str(error) for words in ("请求参数错误", "required"))
    return error if final else Unavailable(str(error))
