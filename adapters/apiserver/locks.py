"""The API server's locks, and what connecting needs beside them (protocol 2.1, 6.1)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from adapters.apiserver.answers import BadRequest
from adapters.apiserver.client import Client
from adapters.apiserver.fields import mapping, text, uuid_text
from application.ports import Identity
from domain.errors import NotFound, Refused, Unavailable

# The server pastes the value into a script: nothing but what it hands out may go back (protocol 6.1).
_VALUE = re.compile(r"[0-9A-Za-z_-]{1,128}")


class HttpLocks:
    """One-owner locks that expire by themselves; the server makes their values. Any thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def acquire(self, key: str, ttl: float, timeout: float) -> str | None:
        """The value that proves ownership, None if somebody else holds the lock. Raises Unavailable, Refused.

        Never retried inside: after a lost answer the lock may be held under an unknown value until ``ttl`` ends.
        """
        query = {"key": key, "expire": _seconds(ttl)}
        data = mapping("lock", self._client.get("/lock/acquire", query, timeout=timeout, repeatable=False))
        if data.get("success") is False:
            return None
        value = data.get("value")
        if data.get("success") is not True or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise Unavailable("GET /lock/acquire: the answer tells neither success nor failure")
        return value

    def refresh(self, key: str, value: str, ttl: float, timeout: float) -> bool:
        """Extend the lock; False means it is not ours any more. Raises Unavailable."""
        if not _VALUE.fullmatch(value):
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
        """Give the lock back; False means it was not ours any more, which is no error. Raises Unavailable."""
        if not _VALUE.fullmatch(value):
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


class HttpGate(HttpLocks):
    """What connecting needs of the server's HTTP side. Any thread."""

    def registered(self, worker_id: str, timeout: float | None = None) -> Identity:
        """How the server knows a worker: its name and its categories. Raises NotFound, Unavailable, Refused."""
        data = mapping("worker", self._client.get(f"/worker/{uuid_text(worker_id)}/", timeout=timeout))
        metadata = data.get("metadata")
        tasks = metadata.get("tasks") if isinstance(metadata, Mapping) else None
        codes = tuple(code for code in tasks if isinstance(code, str)) if isinstance(tasks, list) else ()
        return Identity(text(data, "id"), text(data, "name"), text(data, "description"), tasks=codes)


def _seconds(ttl: float) -> str:
    return str(max(1, math.ceil(ttl)))
