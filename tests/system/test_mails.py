"""Mails to a real SMTP server: their headers, and names and addresses beyond ASCII."""

from __future__ import annotations

import email
import json
import ssl
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.runners.message import MessageRunner
from adapters.runners.message.addresses import ascii_domain
from domain.result import EndReason, Result
from domain.runner import Credential, ExecutionContext
from tests.support.mail_peer import MailBox

MAIL: dict[str, Any] = {"type": "email", "credential_id": "1", "subject": "s", "content": "c", "to": ["a@b.org"]}


class Keys:
    def __init__(self, port: int, **value: Any) -> None:
        self._value = {"smtp_host": "127.0.0.1", "smtp_port": port, "username": "me@here.org", "use_tls": False} | value

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, "email", "mail", self._value)


def sent(keys: Keys, ca_file: str = "", **args: Any) -> Result:
    runner = MessageRunner(ca_file=ca_file)
    runner.parse_args("", json.dumps(MAIL | args))
    runner.set_timeout(20)
    try:
        return runner.execute(ExecutionContext(credentials=keys))
    finally:
        runner.cleanup()


def delivered(value: dict[str, Any] | None = None, **args: Any) -> tuple[list[str], EmailMessage]:
    """Who got the mail, and the mail, from a server that takes ASCII addresses only."""
    with MailBox(enable_SMTPUTF8=False) as box:
        result = sent(Keys(box.port, **value or {}), **args)
    assert result.status == "success", result.error
    recipients, text = box.mails[0]
    assert text.isascii()
    return recipients, email.message_from_string(text, policy=policy.default)  # type: ignore[return-value]


def test_a_mail_has_a_date_and_an_id_of_its_own() -> None:
    (_, first), (_, second) = delivered(), delivered()
    assert abs(first["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=10)
    assert first["Message-ID"].endswith("@here.org>")
    assert first["Message-ID"] != second["Message-ID"]


@pytest.mark.parametrize(("user", "place"), [("me@exämple.de", "@xn--exmple-cua.de>"), ("apikey", "@127.0.0.1>")])
def test_the_id_of_a_mail_names_the_senders_domain_or_the_server(user: str, place: str) -> None:
    assert delivered({"username": user})[1]["Message-ID"].endswith(place)


@pytest.mark.parametrize(
    ("given", "recipients", "header"),
    [
        (["a@exämple.org"], ["a@xn--exmple-cua.org"], "a@xn--exmple-cua.org"),
        (["a@straße.de"], ["a@xn--strae-oqa.de"], "a@xn--strae-oqa.de"),
        (["a@例え。jp"], ["a@xn--r8jz45g.jp"], "a@xn--r8jz45g.jp"),
        (["Jürgen Müller <j@b.org>"], ["j@b.org"], "Jürgen Müller <j@b.org>"),
        (['"Müller, Jürgen" <j@b.org>'], ["j@b.org"], '"Müller, Jürgen" <j@b.org>'),
        (["a@b.org, C <c@d.org>", "e@f.org"], ["a@b.org", "c@d.org", "e@f.org"], "a@b.org, C <c@d.org>, e@f.org"),
        (["root"], ["root"], "root"),
    ],
)
def test_every_address_that_is_named_gets_the_mail(given: list[str], recipients: list[str], header: str) -> None:
    got, mail = delivered(to=given)
    assert (got, str(mail["To"])) == (recipients, header)


def test_names_and_titles_beyond_ascii_arrive_whole() -> None:
    subject, name = "Ü☃" * 100, "Übersicht ☃.pdf"
    more = {"cc": ["Ä <c@exämple.org>"], "bcc": ["d@exämple.org"], "reply_to": "Ö <r@b.org>"}
    got, mail = delivered(
        {"from_name": "Jörg, der Bote"}, subject=subject, attachments=[{"name": name, "content": "x"}], **more
    )
    assert got == ["a@b.org", "c@xn--exmple-cua.org", "d@xn--exmple-cua.org"]
    assert [str(mail[key]) for key in ("Subject", "From", "Cc", "Reply-To", "Bcc")] == [
        subject, '"Jörg, der Bote" <me@here.org>', "Ä <c@xn--exmple-cua.org>", "Ö <r@b.org>", "None",
    ]  # fmt: skip
    assert [part.get_filename() for part in mail.iter_attachments()] == [name]


def test_an_address_beyond_ascii_needs_a_server_that_takes_it() -> None:
    with MailBox(enable_SMTPUTF8=True) as box:
        assert sent(Keys(box.port, username="jörg@here.org"), to=["ü@b.org"]).status == "success"
    assert (box.mails[0][0], 'From: "jörg@here.org" <jörg@here.org>' in box.mails[0][1]) == (["ü@b.org"], True)
    with MailBox(enable_SMTPUTF8=False) as box:
        result = sent(Keys(box.port), to=["a@b.org", "ü@b.org"])
    assert (result.status, box.mails) == ("failed", [])
    assert result.error.endswith("(it offers no SMTPUTF8): ü@b.org")


@pytest.mark.parametrize("bad", ["a@b.org\r\nBcc: x@y.org", "a@b@c", "<>", "a@b.org\n"])
def test_a_text_that_is_no_address_is_refused(bad: str) -> None:
    for key in ("to", "cc", "bcc"):
        with MailBox() as box:
            result = sent(Keys(box.port), **{key: ["a@b.org", bad]})
        assert (result.end_reason, box.mails) == (EndReason.INVALID_TASK, [])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    made, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("127.0.0.1").configure_cert(context)
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return context, str(path)


@pytest.mark.parametrize("without", ["", "LOGIN", "PLAIN"])
@pytest.mark.parametrize("user", ["me@here.org", "jörg@here.org"])
def test_a_password_beyond_ascii_logs_in(authority: tuple[ssl.SSLContext, str], user: str, without: str) -> None:
    options = {"auth_exclude_mechanism": [without]} if without else {}
    with MailBox(authority[0], login=(user, "hünter☃2"), **options) as box:
        good = sent(Keys(box.port, username=user, use_tls=True, password="hünter☃2"), authority[1])
        bad = sent(Keys(box.port, username=user, use_tls=True, password="hünter☃3"), authority[1])
    assert (good.status, len(box.mails)) == ("success", 1), good.error
    assert (bad.status, bad.error) == ("failed", "the mail server refused user and password")


def test_a_server_without_a_login_that_fits_is_told(authority: tuple[ssl.SSLContext, str]) -> None:
    with MailBox(authority[0], auth_exclude_mechanism=["PLAIN", "LOGIN"]) as box:
        result = sent(Keys(box.port, use_tls=True, password="hünter☃2"), authority[1])
    assert (result.status, box.mails, "offers no login" in result.error) == ("failed", [], True)
    assert "STARTTLS" not in result.error


def test_a_domain_in_ascii_stays_as_it_is() -> None:
    assert [ascii_domain(one) for one in ("Here.ORG", "[127.0.0.1]", "")] == ["Here.ORG", "[127.0.0.1]", ""]
