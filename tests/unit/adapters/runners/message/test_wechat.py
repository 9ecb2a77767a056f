"""WeChat Work: an access token first, then the message."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.runners.message.task import MessageArgs, NotSent
from adapters.runners.message.web import Web
from adapters.runners.message.wechat import TokenCache, WeChat
from domain.errors import InvalidTask
from domain.runner import Credential

VALUE = {"corp_id": "corp", "corp_secret": "s+cret", "agent_id": "7"}


class Service:
    """Gives tokens t1, t2 ..., each good for ``lives`` seconds, and answers messages in order, at last with success."""

    def __init__(self, *answers: dict[str, Any], lives: Any = 7200) -> None:
        self._answers, self._lives = list(answers), lives
        self.asked: list[str] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def ask(self, method: str, url: str, body: Any) -> dict[str, Any]:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.endswith("gettoken"):
            assert query == {"corpid": "corp", "corpsecret": "s+cret"}
            self.asked.append(f"t{len(self.asked) + 1}")
            return {"errcode": 0, "access_token": self.asked[-1], "expires_in": self._lives}
        self.sent.append((query["access_token"], body))
        return self._answers.pop(0) if self._answers else {"errcode": 0}


def send(service: Service, tokens: TokenCache, value: dict[str, Any] | None = None, **args: Any) -> None:
    message = MessageArgs(content="hello", **args)
    wechat = WeChat(message, cast(Web, service), "https://api", tokens)
    wechat.send(Credential("c", "wechat_work", "app", VALUE if value is None else value))


def test_a_message_goes_to_those_who_are_named() -> None:
    send(service := Service(), TokenCache(), to_user="u|v", to_tag="t", content_type="markdown")
    assert service.sent[0][1] == {
        "touser": "u|v", "toparty": "", "totag": "t", "msgtype": "markdown", "agentid": 7, "markdown": {"content": "hello"},
    }  # fmt: skip


def test_a_token_is_asked_for_once_while_it_counts() -> None:
    service, tokens = Service(), TokenCache()
    send(service, tokens)
    send(service, tokens)
    assert (service.asked, [token for token, _ in service.sent]) == (["t1"], ["t1", "t1"])


@pytest.mark.parametrize("lives", [0, 60, "30"])
def test_a_token_that_is_about_to_end_is_not_kept(lives: Any) -> None:
    service, tokens = Service(lives=lives), TokenCache()
    send(service, tokens)
    send(service, tokens)
    assert service.asked == ["t1", "t2"]


@pytest.mark.parametrize("code", [40014, 42001])
def test_a_token_that_counts_no_more_is_replaced_once(code: int) -> None:
    service, tokens = Service({"errcode": code}), TokenCache()
    send(service, tokens)
    assert [token for token, _ in service.sent] == ["t1", "t2"]
    with pytest.raises(NotSent, match=f"errcode {code}"):
        send(Service({"errcode": code}, {"errcode": code}), TokenCache())


def test_who_was_missed_is_told() -> None:
    with pytest.raises(NotSent, match=r"not sent to invaliduser u; invalidtag t; sent to the others"):
        send(Service({"errcode": 0, "invaliduser": "u", "invalidparty": "", "invalidtag": "t"}), TokenCache())


@pytest.mark.parametrize("key", ["corp_id", "corp_secret", "agent_id"])
def test_a_credential_that_lacks_something_is_told_before_anything_is_asked(key: str) -> None:
    service = Service()
    with pytest.raises(InvalidTask, match=key):
        send(service, TokenCache(), VALUE | {key: None})
    assert service.asked == []


def test_a_token_is_kept_under_what_it_was_asked_with_and_can_be_dropped() -> None:
    tokens = TokenCache()
    tokens.put(b"a", "t", 3600)
    assert (tokens.get(b"a"), tokens.get(b"b")) == ("t", "")
    tokens.drop(b"a")
    tokens.drop(b"a")
    assert tokens.get(b"a") == ""
