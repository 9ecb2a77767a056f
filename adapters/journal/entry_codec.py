"""One journal entry as text: JSON behind a checksum, so that a flipped bit is found and never believed (G9)."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict

from adapters.wire.report_json import decode_report
from application.ports import Entry


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
    entry = Entry(**document, report=None if report is None else decode_report(report))
    if entry.task_id.encode() != task_id:
        raise ValueError("it is the record of another task")
    return entry
