"""The HTTP endpoints of the modelled server, as one function from a request to a reply (protocol 6)."""

from __future__ import annotations

from typing import Any

from adapters.testkit.model import approvals, logs
from adapters.testkit.model.locks import REFRESH_CAP
from adapters.testkit.model.replies import BAD, NO_ROUTE, NOT_FOUND, Reply, ok, outage
from adapters.testkit.model.server import ServerModel
from adapters.testkit.model.tasks import apply_patch, is_uuid, on_the_wire


def call_name(path: str, query: dict[str, str]) -> str:
    """What a Fault's pattern is matched with: the endpoint without ids, the whole path, the lock's key."""
    name = "/".join(part for part in path.split("/") if part and "-" not in part)
    return f"{name} {path} {query.get('key', '')}".strip()


def answer(
    model: ServerModel, method: str, path: str, query: dict[str, str], body: Any, token: str, left: bool = False
) -> Reply:
    """``path`` without ``/api/v1``; ``token`` is the Authorization header's value; ``left``: the client is gone."""
    if not token:
        return 401, {"code": 401, "error": "MISSING_AUTH_HEADER", "message": "auth"}
    if token not in (model.token, f"Bearer {model.token}"):
        return 401, {"code": 401, "error": "HTTP_401", "message": "认证服务返回错误状态: 401"}
    parts = [part for part in path.split("/") if part]
    if (trouble := outage(model.away, parts)) is not None:
        return trouble
    match method, parts:
        case "GET", ["lock", verb]:
            return _lock(model, verb, query)
        case "GET", ["task"]:
            return _list(model, query)
        case _, ["tasklog", _, *_]:
            return logs.answer(model, method, parts[1:], body or {}, left)
        case _, ["task", task_id, *_] if not is_uuid(task_id):
            return BAD
        case "GET", ["task", task_id]:
            row = model.tasks.get(task_id)
            return (200, ok(on_the_wire(row))) if row and not row["deleted"] else NOT_FOUND
        case "POST", ["task", task_id, "stop"]:
            return model.stop(task_id, bool((body or {}).get("force")) or query.get("force") == "true")
        case "POST", ["task", task_id, "cancel"]:
            return model.cancel(task_id)
        case "PATCH", ["task", task_id]:
            return _patch(model, task_id, body or {})
        case "GET", ["category", code]:
            return (200, ok(model.categories[code])) if code in model.categories else NOT_FOUND
        case "POST", ["credentials", known, "decrypt"]:
            if not is_uuid(known):
                return 500, {"code": 500, "message": "请求参数错误"}
            return (200, ok(model.credentials[known])) if known in model.credentials else NOT_FOUND
        case _, ["approvals", *rest]:
            return approvals.answer(model, method, rest, query, body or {})
        case _, ["worker", known, *_] if not is_uuid(known):
            return BAD
        case ("GET", ["worker", known]) | ("PUT", ["worker", known, "ping"]):
            return (200, ok(model.workers[known])) if known in model.workers else NOT_FOUND
    return NO_ROUTE


def _lock(model: ServerModel, verb: str, query: dict[str, str]) -> Reply:
    key, value = query.get("key", ""), query.get("value", "")
    if not key or (verb in ("release", "refresh") and not value):
        return 400, {"code": 400, "message": "missing parameter"}
    expire = float(_whole(query.get("expire"), 60))
    task = key.removeprefix("task:lock:")
    if verb == "acquire":
        got = model.locks.acquire(key, expire)
        model.note("acquire", task, got=bool(got))
        word = "lock acquired successfully" if got else "lock already acquired"
        status = "success" if got else "failed"
        return 200, ok({"key": key, "value": got or "", "success": bool(got), "status": status, "message": word})
    if verb == "refresh":
        if not model.locks.refresh(key, value, expire):
            return 400, {
                "code": 400,
                "message": "failed to refresh lock: lock not owned by this instance or already expired",
            }
        model.note("refresh", task)
        data = {
            "key": key,
            "value": value,
            "expire": int(min(expire, REFRESH_CAP)) * 10**9,
            "success": True,
            "status": "success",
        }
        return 200, ok(data | {"message": "lock refreshed successfully"})
    if verb == "release":
        return _release(model, task, key, value)
    if verb == "check":
        holder = model.locks.holder(key)
        locked = bool(holder) and value in ("", holder)
        data = {"key": key, "is_locked": locked, "value": holder, "status": "success", "check_time": ""}
        return 200, ok(data | ({"value_matched": value == holder} if value else {}))
    return NO_ROUTE


def _release(model: ServerModel, task: str, key: str, value: str) -> Reply:
    model.note("release", task, owned=model.locks.holder(key) == value)
    if not model.locks.release(key, value):
        message = "failed to release lock: lock not owned by this instance or already released"
        return 500, {"code": 500, "message": message}
    return 200, ok({"key": key, "status": "success", "message": "lock released successfully"})


def _list(model: ServerModel, query: dict[str, str]) -> Reply:
    rows = [
        row
        for row in reversed(model.tasks.values())
        if all(query.get(key) in (None, "", str(row.get(key) or "")) for key in ("worker_id", "status", "category"))
        and not row["deleted"]
    ]
    size = min(500, _whole(query.get("page_size"), 10))
    page = _whole(query.get("page"), 1)
    results = [on_the_wire(row) for row in rows[(page - 1) * size : page * size]]
    return 200, ok({"page": page, "page_size": size, "count": len(rows), "results": results})


def _patch(model: ServerModel, task_id: str, body: dict[str, Any]) -> Reply:
    row = model.tasks.get(task_id)
    if row is None or row["deleted"]:
        return NOT_FOUND
    model.note("patch", task_id, ended=row["time_end"] is not None)
    return (200, ok(on_the_wire(row))) if apply_patch(row, body, model.clock()) else BAD


def _whole(text: str | None, otherwise: int) -> int:
    """A positive whole number of a query, or what the server takes in its place."""
    try:
        number = int(text or "")
    except ValueError:
        return otherwise
    return number if 0 < number < 2**63 else otherwise
