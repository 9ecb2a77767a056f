"""What each chat service is sent, and when that counts as sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.runners.message.bots import send_to_bot
from adapters.runners.message.task import MessageArgs, NotSent
from adapters.runners.message.web import Web
from domain.errors import InvalidTask
from domain.runner import Credential


class Service:
    """Takes what is sent and answers as it was told."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer
        self.url, self.body = "", dict[str, Any]()

    def ask(self, method: str, url: str, body: Any) -> dict[str, Any]:
        self.url, self.body = url, body
        return self._answer


GOOD = {
    "wechat_work_bot": {"errcode": 0},
    "dingtalk_bot": {"errcode": 0},
    "feishu_bot": {"code": 0},
    "slack": {},
    "webhook": {},
}


def sent(kind: str, answer: dict[str, Any] | None = None, secret: str = "", **args: Any) -> Service:
    service = Service(GOOD[kind] if answer is None else answer)
    value = {"webhook": "https://h/hook?key=k"} | ({"secret": secret} if secret else {})
    message = MessageArgs(type=kind, content="hello", **args)
    send_to_bot(message, cast(Web, service), Credential("c", "webhook", "bot", value))
    return service


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("wechat_work_bot", {"msgtype": "text", "text": {"content": "hello"}}),
        ("feishu_bot", {"msg_type": "text", "content": {"text": "hello"}}), ("slack", {"text": "hello"}),
        ("webhook", {"subject": "", "content": "hello", "content_type": "text"}),
    ],
)  # fmt: skip
def test_each_service_gets_its_own_words(kind: str, body: dict[str, Any]) -> None:
    service = sent(kind)
    assert (service.url, service.body) == ("https://h/hook?key=k", body)


def test_people_are_mentioned_as_the_service_wants_it() -> None:
    assert sent("wechat_work_bot", at_user_ids=["u"], at_mobiles=["1"]).body["text"] == {
        "content": "hello", "mentioned_list": ["u"], "mentioned_mobile_list": ["1"],
    }  # fmt: skip
    assert sent("wechat_work_bot", is_at_all=True, at_mobiles=["1"]).body["text"]["mentioned_list"] == ["@all"]
    assert sent("dingtalk_bot", at_mobiles=["1"]).body["at"] == {"atMobiles": ["1"], "atUserIds": [], "isAtAll": False}
    assert sent("feishu_bot", at_user_ids=["u"]).body["content"]["text"] == '<at user_id="u">@u</at> hello'
    card = sent("feishu_bot", at_user_ids=["u"], is_at_all=True, content_type="markdown").body["card"]
    assert card["elements"][0]["content"] == "<at id=u></at>\n\nhello\n<at id=all></at>"


def test_an_id_brings_no_markup_of_its_own() -> None:
    assert sent("feishu_bot", at_user_ids=['u"></at><at user_id="all']).body["content"]["text"] == "hello"


def test_markdown_of_dingtalk_has_a_title() -> None:
    found = sent("dingtalk_bot", content_type="markdown", subject="News").body["markdown"]
    assert found == {"title": "News", "text": "hello"}
    assert sent("dingtalk_bot", content_type="markdown").body["markdown"]["title"] == "message"


def test_a_secret_signs_and_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.5)
    body = sent("feishu_bot", secret="s3cret").body
    wanted = hmac.new(b"1700000000\ns3cret", b"", hashlib.sha256).digest()
    assert (body["timestamp"], base64.b64decode(body["sign"])) == ("1700000000", wanted)
    query = parse_qs(urlsplit(sent("dingtalk_bot", secret="s3cret").url).query)
    wanted = hmac.new(b"s3cret", b"1700000000500\ns3cret", hashlib.sha256).digest()
    assert (query["key"], query["timestamp"], base64.b64decode(query["sign"][0])) == (["k"], ["1700000000500"], wanted)


@pytest.mark.parametrize(
    ("kind", "code"), [("wechat_work_bot", "errcode"), ("dingtalk_bot", "errcode"), ("feishu_bot", "code")]
)
def test_an_answer_without_a_good_code_is_no_success(kind: str, code: str) -> None:
    for answer in ({}, {code: 93000}, {code: "0"}, {code: None}):
        with pytest.raises(NotSent, match=code):
            sent(kind, answer)


def test_a_credential_without_an_address_is_told() -> None:
    with pytest.raises(InvalidTask, match="no webhook"):
        send_to_bot(MessageArgs(type="slack"), cast(Web, Service({})), Credential("c", "webhook", "bot", {}))
