"""What an answer of the server holds, with a clear error where it does not."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from domain.errors import Refused, Unavailable


def uuid_text(text: str) -> str:
    """An id that may stand in a path; the server's ids are all uuids."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Refused(f"{text[:40]!r} is not a uuid") from None


def mapping(what: str, data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise Unavailable(f"the server's answer holds no {what}")
    return data


def text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def size(data: Any) -> int:
    size = data.get("size") if isinstance(data, Mapping) else None
    return size if isinstance(size, int) and not isinstance(size, bool) else -1
