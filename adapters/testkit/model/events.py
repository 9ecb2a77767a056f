"""What the modelled server does with a worker's messages (protocol 5)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from adapters.testkit.model.faults import DISCARD, DROP, LOST
from adapters.testkit.model.replies import AUTH, DATABASE
from adapters.testkit.model.tasks import ENDS, Row, apply_update, is_uuid, parse, stamp

if TYPE_CHECKING:
    from adapters.testkit.model.server import Connection, ServerModel


def handle(model: ServerModel, connection: Connection, payload: bytes) -> None:
    """One event, to its end. Nothing is ever answered: what is refused shows in the history only."""
    try:
        event = parse(payload)
    except (ValueError, RecursionError):
        event = None
    data = (event.get("data") or {}) if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(data, dict):
        model.note("bad json", worker=connection.worker_id)
        return
    action = event.get("action")
    if event.get("api_key") not in (model.token, f"Bearer {model.token}"):
        model.note("bad key", worker=str(event.get("worker_id")))
        return
    lost = model.away & {AUTH, DATABASE}  # dropped without a word, and a pong comes all the same
    if action == "regist_worker":
        _register(model, connection, str(event.get("worker_id")), data, bool(lost))
    elif action == "task_update":
        _update(model, connection, str(event.get("worker_id")), str(event.get("task_id")), data, bool(lost))


def _register(model: ServerModel, connection: Connection, worker_id: str, data: Row, lost: bool) -> None:
    given = data.get("name")
    name = given if isinstance(given, str) else ""
    known = model.workers.get(worker_id)
    taken = any(name and row["name"] == name and other != worker_id for other, row in model.workers.items())
    wrong = not is_uuid(worker_id) or len(name) > 80 or data.get("id", worker_id) != worker_id
    if lost or taken or wrong or (known is not None and known["deleted"]):
        model.note("registration refused", worker=worker_id)
        return
    now = stamp(model.clock())
    fresh = {"id": worker_id, "name": name, "description": "", "created_at": now, "deleted": False}
    row = model.workers.setdefault(worker_id, fresh)
    row |= {"is_active": True, "last_active": now, "updated_at": now, "metadata": data.get("metadata")}
    row |= {key: data[key] for key in ("name", "description") if isinstance(data.get(key), str) and data[key]}
    tasks = row["metadata"].get("tasks") if isinstance(row["metadata"], dict) else None
    connection.worker_id, connection.name = worker_id, row["name"]
    connection.tasks = tuple(it for it in tasks if isinstance(it, str)) if isinstance(tasks, list) else ()
    model.note("registered", worker=worker_id)


def _update(model: ServerModel, connection: Connection, worker_id: str, task_id: str, data: Row, lost: bool) -> None:
    """One task_update. Faults: DISCARD forgets it, DROP also ends the connection, LOST ends it afterwards."""
    row = model.tasks.get(task_id)
    digest = hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]  # a repetition must be the same (G2)
    fault = model.faults.next(f"update {data.get('status', '-')} {task_id}")
    if fault is not None and fault.kind == DROP:
        model.disconnect(connection)
    if lost or row is None or row["deleted"] or (fault is not None and fault.kind in (DISCARD, DROP)):
        model.note("update lost", task_id, worker_id, status=data.get("status"), digest=digest)
        return
    before, owner = row["status"], row.get("worker_id")
    why = apply_update(row, data, model.clock())
    detail = {
        "status": data.get("status"),
        "before": before,
        "refused": why,
        "worker_of_task": owner,  # before this update: it may name another
        "digest": digest,
    }
    model.note("update", task_id, worker_id, **detail)
    if not why and row["status"] in ENDS:
        model.note("terminal", task_id, worker_id, status=row["status"], output=row["output"])
    if fault is not None and fault.kind == LOST:
        model.disconnect(connection)
        connection.wake()
