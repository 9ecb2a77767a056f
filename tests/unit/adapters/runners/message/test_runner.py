"""Messages: what is checked, and how the sending ends."""

from __future__ import annotations

import json
import smtplib
import ssl
import threading
from typing import Any

import pytest
import urllib3
from pytest_mock import MockerFixture

from adapters.runners.message.runner import MessageRunner, _explain
from adapters.runners.message.task import NotSent
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import ExecutionContext
from tests.support.runner_fakes import Keys

SLACK: dict[str, Any] = {"type": "slack", "credential_id": "c", "content": "hello"}
MAIL = SLACK | {"type": "email", "subject": "s", "to": ["a@b.org"]}
SEND = "adapters.runners.message.runner.send_to_bot"


def ran(keys: Keys | None = None, logged: list[bytes] | None = None, **args: Any) -> Result:
    runner = MessageRunner()
    runner.parse_args("", json.dumps(SLACK | args))
    log = (lambda _: None) if logged is None else logged.append
    result = runner.execute(ExecutionContext(credentials=keys, log=log))
    runner.cleanup()
    runner.cleanup()
    return result


def test_a_message_is_sent_with_the_credential_and_neither_is_in_the_log(mocker: MockerFixture) -> None:
    send, logged = mocker.patch(SEND), list[bytes]()
    result = ran(Keys("webhook", webhook="http://s3cret"), logged)
    assert (result.end_reason, result.output) == (EndReason.COMPLETED, "slack message sent")
    assert send.call_args.args[0].content == "hello"
    text = b"".join(logged).decode()
    assert "5 characters, with deploy" in text
    assert not [secret for secret in ("hello", "s3cret") if secret in text]


def test_a_mention_that_the_service_does_not_know_is_told(mocker: MockerFixture) -> None:
    mocker.patch(SEND)
    logged: list[bytes] = []
    ran(Keys("webhook"), logged, type="wechat_work_bot", content_type="markdown", is_at_all=True)
    assert b"mentions nobody" in b"".join(logged)


@pytest.mark.parametrize(
    ("keys", "told"),
    [(None, "nowhere to get credentials from"), (Keys("email"), "slack wants category webhook, not email")],
)
def test_a_credential_of_another_kind_or_none_is_the_authors_mistake(keys: Keys | None, told: str) -> None:
    result = ran(keys)
    assert (result.end_reason, told in result.error) == (EndReason.INVALID_TASK, True)


@pytest.mark.parametrize(
    ("error", "reason", "told"),
    [
        (NotSent("refused"), EndReason.FAILED, "refused"), (InvalidTask("wrong"), EndReason.INVALID_TASK, "wrong"),
        (OSError(111, "Connection refused"), EndReason.FAILED, "connection failed: Connection refused"),
        (KeyError("s3cret"), EndReason.INTERNAL, "KeyError"),
    ],
    ids=lambda it: type(it).__name__,
)  # fmt: skip
def test_what_goes_wrong_is_the_end_and_a_defect_shows_no_secret(
    mocker: MockerFixture, error: Exception, reason: EndReason, told: str
) -> None:
    mocker.patch(SEND, side_effect=error)
    result = ran(Keys("webhook"))
    assert (result.end_reason, result.error) == (reason, told)


@pytest.mark.parametrize("late", [None, OSError("cut")])
def test_a_stop_does_not_wait_for_the_other_side_but_what_was_sent_was_sent(
    mocker: MockerFixture, late: Exception | None
) -> None:
    def send(*_: object) -> None:
        runner.stop()
        if late is not None:
            raise late

    runner = MessageRunner()
    mocker.patch(SEND, side_effect=send)
    runner.parse_args("", json.dumps(SLACK))
    result = runner.execute(ExecutionContext(credentials=Keys("webhook")))
    runner.cleanup()
    assert result.end_reason is (EndReason.COMPLETED if late is None else EndReason.STOPPED)


def test_a_side_that_never_answers_holds_no_stopped_run(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    sending, let_go = threading.Event(), threading.Event()

    def send(*_: object) -> None:
        sending.set()
        let_go.wait(20)
        raise OSError("cut")

    def stop() -> None:
        sending.wait(10)
        runner.stop()

    runner = MessageRunner()
    mocker.patch(SEND, side_effect=send)
    runner.parse_args("", json.dumps(SLACK))
    stopping = threading.Thread(target=stop)
    stopping.start()
    result = runner.execute(ExecutionContext(credentials=Keys("webhook")))
    let_go.set()
    stopping.join()
    runner.cleanup()
    assert result.end_reason is EndReason.STOPPED


@pytest.mark.parametrize(
    "change",
    [{"type": ""}, {"type": "pigeon"}, {"credential_id": " "}, {"content": ""}, {"subject": ""}, {"to": []}, {"to": ["a@b.org", " "]},
     {"bcc": [""]}, {"type": "wechat_work"}],
    ids=json.dumps,
)  # fmt: skip
def test_a_wrong_message_is_refused_before_it_is_sent(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        MessageRunner().parse_args("", json.dumps(MAIL | change))


def unverified() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (smtplib.SMTPAuthenticationError(535, b"s3cret"), "the mail server refused user and password"),
        (smtplib.SMTPRecipientsRefused({"a@b.org": (550, b"no")}), "refused every recipient: a@b.org (550 no)"),
        (smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server."), "use_tls false"),
        (smtplib.SMTPDataError(554, b"spam"), "the mail server answered 554 spam"), (unverified(), "TLS: self-signed certificate"),
        (TimeoutError(), "timeout: no answer in time"), (OSError("x"), "connection failed: OSError"),
        (urllib3.exceptions.MaxRetryError(None, "http://s3cret", OSError(111, "Connection refused")), "connection failed: Connection refused"),  # type: ignore[arg-type]
    ],
    ids=lambda it: type(it).__name__,
)  # fmt: skip
def test_an_error_is_told_in_words_that_hold_no_secret(error: Exception, told: str) -> None:
    assert told in _explain(error)
    assert "s3cret" not in _explain(error)
