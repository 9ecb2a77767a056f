"""What came back, as the task's output tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.runners.output import ROOM, beginning, size


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    fault: str = ""  # why the body cannot be read


def output_of(text: str, status: int, truncated: bool = False) -> str:
    """A JSON object passes, with ``status_code`` added where it has none; everything else becomes a message."""
    try:
        document = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and size(document) <= ROOM:
        return json.dumps({"status_code": status} | document, ensure_ascii=False)
    message = beginning(text)
    cut = {"truncated": True} if truncated or message != text else {}
    return json.dumps({"message": message, "status_code": status, "exit_code": status} | cut, ensure_ascii=False)


def charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name.lower() == "charset":
            try:
                "".encode(value.strip('"'))
                return value.strip('"')
            except LookupError:
                break
    return "utf-8"


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
