"""What of a long answer goes into a task's output.

An output above ``execution.output_limit`` is reported as cut text: then later tasks find none of its keys. So runners
keep the documents that they make below the usual limit (60000 bytes), and tell with ``truncated`` what they left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from adapters.process.output import HeadTail

ROOM = 48_000  # bytes of JSON for the one part of a document that has no other bound
TEXT = 10_240  # bytes of plain text, as tasks know it


def size(value: Any) -> int:
    """Bytes of a value within a document."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) + len(", ")


def first(items: Iterable[Any], room: int = ROOM) -> list[Any]:
    """As many of the items as there is room for."""
    found = []
    for item in items:
        room -= size(item)
        if room < 0:
            break
        found.append(item)
    return found


def shortened(text: str, room: int = ROOM) -> str:
    """The text, or its beginning and end with a mark between them."""
    short, keep = text, room
    while size(short) > room:
        memory = HeadTail(keep)
        memory.feed(text.encode("utf-8", "replace"))
        short = memory.value().decode("utf-8", "replace")
        keep //= 2  # escapes make it longer than the text
    return short


def beginning(text: str) -> str:
    """At most TEXT bytes of a text, with the words that tasks know behind what was cut."""
    data, short, keep = text.encode("utf-8", "replace"), text, TEXT
    while (len(data) > TEXT and short == text) or size(short) > ROOM:
        short = data[:keep].decode("utf-8", "ignore") + "... (truncated)"
        keep //= 2  # escapes make it longer than the text
    return short
