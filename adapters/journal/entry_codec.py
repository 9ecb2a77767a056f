"""One journal entry as text: JSON behind a checksum, so that a flipped bit is found and never believed (G9)."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from datetime import datetime
from typing import Any

from adapters.wire.report_json import decode_report
from application.ports import Entry, Verb
from domain.status import Status


def encode_entry(entry: Entry) -> str:
    text = json.dumps(asdict(entry), separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x} {text}"


def decode_entry(task_id: bytes, record: bytes) -> Entry:
    """Raises ValueError for anything but what ``encode_entry`` wrote for that task."""
    if not isinstance(record, bytes) or not isinstance(task_id, bytes):  # a flipped bit can make a text a NULL
        raise ValueError("it is no text")
    checksum, _, text = record.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        raise ValueError("the checksum is wrong")
    document = json.loads(text)
    report = document.pop("report")
    if "lock_value" in document:
        document["token"] = document.pop("lock_value")
        report = None if report is None else _report_of_format_1(report)
    entry = Entry(**document, report=None if report is None else decode_report(report))
    if entry.task_id.encode() != task_id:
        raise ValueError("it is the record of another task")
    return entry


def _report_of_format_1(report: dict[str, Any]) -> dict[str, Any]:
    """What a report of the journal's first format says in today's words: an upgrade loses no result.

    Its end was told by the clock of the machine, without a zone; what kind of report it was, by its status.
    """
    time_end, status = report.pop("time_end"), report.pop("status")
    handed_back = status == Status.PENDING
    verb = Verb.HANDED_BACK if handed_back else Verb.PROGRESS if status is None else Verb.ENDED
    ended_at = datetime.fromisoformat(time_end).astimezone().isoformat() if time_end else ""
    return report | {
        "verb": verb,
        "status": None if handed_back else status,
        "end_reason": None,
        "ended_at": ended_at,
    }
