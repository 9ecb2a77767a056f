"""A mail, and how a mail server is asked to take it."""

from __future__ import annotations

import base64
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from pytest_mock import MockerFixture

from adapters.net.connections import Connections
from adapters.runners.message.mail import Mail, refusals, words
from adapters.runners.message.task import MessageArgs, NotSent
from domain.errors import InvalidTask
from domain.runner import Credential

VALUE = {"smtp_host": "mail.example", "username": "me@here.org", "password": "p"}


class Server:
    """Stands in for the library's connection: ``told`` is what was done with it, in order."""

    def __init__(self, utf8: bool = False, auth: str = "PLAIN LOGIN", refuse: Any = None, code: int = 235) -> None:
        self._utf8, self._refuse, self._code = utf8, refuse or {}, code
        self.esmtp_features = {"auth": auth}
        self.told: list[Any] = []
        self.mail = EmailMessage()
        self.to: list[str] = []

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.told.append("quit")

    def starttls(self, context: Any) -> None:
        self.told.append("starttls")

    def login(self, user: str, password: str) -> None:
        self.told.append(("login", user, password))

    def ehlo_or_helo_if_needed(self) -> None: ...

    def has_extn(self, name: str) -> bool:
        return self._utf8 and name == "smtputf8"

    def docmd(self, *words: str) -> tuple[int, bytes]:
        self.told.append(words)
        return (334, b"") if words[-1].startswith("LOGIN") else (self._code, b"said")

    def send_message(self, message: EmailMessage, sender: str, to: list[str]) -> Any:
        self.told.append("send")
        self.mail, self.to = message, to
        return self._refuse


@pytest.fixture
def connections() -> Iterator[Connections]:
    made = Connections()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_library(mocker: MockerFixture) -> Any:
    """The one of STARTTLS and the one of TLS from the start, each with the port that it was asked for."""
    return {name: mocker.patch(f"adapters.runners.message.mail.{name}") for name in ("_explicit", "_implicit")}


@pytest.fixture
def send(connections: Connections, no_library: Any) -> Any:
    def sent(server: Server, value: dict[str, Any] | None = None, **args: Any) -> Server:
        for one in no_library.values():
            one.return_value.return_value = server
        message = MessageArgs(**{"type": "email", "subject": "s", "content": "c", "to": ["a@b.org"]} | args)
        Mail(message, connections, "", 5.0).send(Credential("c", "email", "mail", VALUE | (value or {})))
        return server

    return sent


def test_nothing_is_said_before_the_line_is_encrypted(send: Any) -> None:
    assert send(Server()).told == ["starttls", ("login", "me@here.org", "p"), "send", "quit"]


def test_a_line_is_plain_only_where_the_credential_says_so(send: Any) -> None:
    assert send(Server(), {"use_tls": False, "password": ""}).told == ["send", "quit"]
    assert "starttls" in send(Server(), {"use_tls": None}).told


@pytest.mark.parametrize(
    ("port", "plain", "implicit"), [(465, None, True), ("465", None, True), (465, False, False), (587, None, False)]
)
def test_port_465_is_encrypted_from_the_start(
    send: Any, no_library: Any, port: Any, plain: Any, implicit: bool
) -> None:
    server = send(Server(), {"smtp_port": port} | ({} if plain is None else {"use_tls": plain}))
    assert no_library["_implicit"].return_value.called is implicit
    assert ("starttls" in server.told) is (port == 587)


def test_hidden_recipients_get_it_and_are_in_no_header(send: Any) -> None:
    server = send(Server(), cc=["c@d.org"], bcc=["h@i.org"], reply_to="r@s.org")
    assert server.to == ["a@b.org", "c@d.org", "h@i.org"]
    assert [server.mail[name] for name in ("To", "Cc", "Reply-To", "Bcc")] == ["a@b.org", "c@d.org", "r@s.org", None]
    assert "h@i.org" not in server.mail.as_string()


def test_attachments_are_text_or_base64(send: Any) -> None:
    given = [{"name": "a.txt", "content": "ü"}, {"name": "b", "base64": "eHg\n="}]
    parts = list(send(Server(), content_type="html", attachments=given).mail.iter_attachments())
    assert [(part.get_filename(), part.get_content()) for part in parts] == [("a.txt", "ü".encode()), ("b", b"xx")]


@pytest.mark.parametrize("given", ["x", {"name": 7}, {"name": "a", "base64": "?"}, {"name": "a", "base64": 7}])
def test_a_wrong_attachment_is_the_authors_mistake_and_nothing_is_sent(send: Any, given: Any) -> None:
    server = Server()
    with pytest.raises(InvalidTask, match="attachments"):
        send(server, attachments=[given])
    assert server.told == []


@pytest.mark.parametrize("change", [{"subject": "a\r\nBcc: x@y.org"}, {"reply_to": "a\nb"}, {"to": ["a@b.org\n"]}])
def test_no_text_brings_a_header_of_its_own(send: Any, change: dict[str, Any]) -> None:
    server = Server()
    with pytest.raises(InvalidTask):
        send(server, **change)
    assert server.told == []


def test_an_address_beyond_ascii_needs_a_server_that_takes_it(send: Any) -> None:
    with pytest.raises(NotSent, match="SMTPUTF8"):
        send(Server(), to=["ü@b.org"])
    assert send(Server(utf8=True), to=["ü@b.org"]).to == ["ü@b.org"]
    assert send(Server(), to=["a@bücher.example"]).to == ["a@xn--bcher-kva.example"]


@pytest.mark.parametrize(("auth", "commands"), [("PLAIN LOGIN", 1), ("LOGIN", 2)])
def test_a_password_beyond_ascii_goes_as_utf8(send: Any, auth: str, commands: int) -> None:
    told = [words for words in send(Server(auth=auth), {"password": "pä"}).told if isinstance(words, tuple)]
    assert len(told) == commands
    assert base64.b64decode(told[-1][-1].split()[-1]).endswith("pä".encode())


def test_a_password_that_the_server_has_no_way_for_is_told(send: Any) -> None:
    with pytest.raises(NotSent, match="no login"):
        send(Server(auth="CRAM-MD5"), {"password": "pä"})
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(Server(code=535), {"password": "pä"})
    with pytest.raises(InvalidTask, match="half a character"):
        send(Server(), {"password": "p\ud800"})


def test_those_who_were_refused_are_told_in_the_servers_words(send: Any) -> None:
    with pytest.raises(NotSent, match=r"refused for x@y\.org \(550 no such user\); sent to the others"):
        send(Server(refuse={"x@y.org": (550, b"no such\r\nuser")}))
    assert refusals({"a": (1, b"b"), "c": (2, b"\xff")}) == "a (1 b), c (2 \N{REPLACEMENT CHARACTER})"
    assert len(words("x" * 999)) == 200
