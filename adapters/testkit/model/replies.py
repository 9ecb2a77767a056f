"""What the modelled server answers, and what it says while something that it needs is away (protocol 1.2)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

Reply = tuple[int, dict[str, Any]]

BAD: Reply = (400, {"code": 400, "message": "请求参数错误"})
NOT_FOUND: Reply = (404, {"code": 404, "message": "记录不存在"})
NO_ROUTE: Reply = (404, {})  # answered as plain text

# What the server needs and may lose.
DATABASE, REDIS, AUTH = "database", "redis", "auth"
AUTH_TRIES = 3.0  # seconds until an auth service that does not answer is given up
NO_DATABASE: Reply = (400, {"code": 400, "message": "dial tcp 127.0.0.1:3306: connect: connection refused"})
_NO_REDIS: Reply = (500, {"code": 500, "message": "dial tcp 127.0.0.1:6379: connect: connection refused"})
_NO_DECRYPTION: Reply = (500, {"code": 500, "message": "dial tcp 127.0.0.1:3306: connect: connection refused"})
_NO_AUTH: Reply = (503, {"code": 503, "error": "MAX_RETRIES_EXCEEDED", "message": "认证服务不可用"})


def ok(data: Any) -> dict[str, Any]:
    return {"code": 0, "data": data, "message": "ok"}


def outage(away: Collection[str], parts: list[str]) -> Reply | None:
    """The reply to a request below ``parts``, None where it can be served. Task logs have rules of their own."""
    if AUTH in away:
        return _NO_AUTH
    route = parts[0] if parts else ""
    if route == "lock":
        return _NO_REDIS if REDIS in away else None
    if DATABASE not in away or route == "tasklog":
        return None
    return _NO_DECRYPTION if route == "credentials" else NO_DATABASE
