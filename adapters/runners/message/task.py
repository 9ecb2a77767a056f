"""What a message task says, and what its credential must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.errors import InvalidTask, WorkerError

WEBHOOKS = ("wechat_work_bot", "feishu_bot", "dingtalk_bot", "slack", "webhook")
CATEGORY = {"email": "email", "wechat_work": "wechat_work"} | dict.fromkeys(WEBHOOKS, "webhook")


class NotSent(WorkerError):
    """The other side did not take the message, or not for everybody."""


@dataclass(frozen=True, slots=True)
class MessageArgs:
    type: str = ""
    credential_id: str = ""
    content: str = ""
    content_type: str = "text"
    to: list[str] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    bcc: list[str] = field(default_factory=list)
    reply_to: str = ""
    subject: str = ""
    attachments: list[Any] = field(default_factory=list)
    to_user: str = ""
    to_party: str = ""
    to_tag: str = ""
    at_mobiles: list[str] = field(default_factory=list)
    at_user_ids: list[str] = field(default_factory=list)
    is_at_all: bool = False


def text_of(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str) or not found:
        raise InvalidTask(f"the credential has no {key}")
    return found


def number_of(value: Mapping[str, Any], key: str, default: int) -> int:
    """A number, also one that was stored as text (M2)."""
    found = value.get(key, default)
    try:
        return int(found)
    except (TypeError, ValueError):
        raise InvalidTask(f"the credential's {key} is not a number") from None
