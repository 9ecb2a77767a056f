"""Mail over SMTP."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from typing import Any

from adapters.net.connections import Connections
from adapters.runners.message.addresses import addresses, ascii_domain, made
from adapters.runners.message.task import MessageArgs, NotSent, number_of, text_of
from domain.errors import InvalidTask
from domain.runner import Credential

Dial = Callable[[str, int, float | None], socket.socket]


class Mail:
    """Sends one mail. ``limit``: seconds for each step; ``ca_file`` adds authorities."""

    def __init__(self, args: MessageArgs, connections: Connections, ca_file: str, limit: float) -> None:
        self._args = args
        self._connections = connections
        self._ca_file = ca_file
        self._limit = limit

    def send(self, credential: Credential) -> None:
        value = credential.value
        host, port = text_of(value, "smtp_host"), number_of(value, "smtp_port", 587)
        user = text_of(value, "username")
        sender = made(str(value.get("from_name") or user), user)
        everybody = [one.addr_spec for one in addresses([*self._args.to, *self._args.cc, *self._args.bcc])]
        message = self._mail(sender, sender.domain or ascii_domain(host))
        tls = ssl.create_default_context()
        if self._ca_file:
            tls.load_verify_locations(self._ca_file)
        plain = value.get("use_tls") is False
        dial = self._connections.dial
        mailer = _implicit(dial)(host, port, timeout=self._limit, context=tls) if port == 465 and not plain else None
        with mailer or _explicit(dial)(host, port, timeout=self._limit) as smtp:
            if not plain and port != 465:
                smtp.starttls(context=tls)  # a server that does not offer it gets nothing (M5)
            if password := value.get("password"):
                _log_in(smtp, user, str(password))
            _check_utf8(smtp, [sender.addr_spec, *everybody])
            refused = smtp.send_message(message, sender.addr_spec, everybody)
            if refused:
                raise NotSent(f"refused for {refusals(refused)}; sent to the others")

    def _mail(self, sender: Address, place: str) -> EmailMessage:
        args, message = self._args, EmailMessage()
        try:
            message["From"] = sender
            for name, given in (("To", args.to), ("Cc", args.cc), ("Reply-To", [args.reply_to])):
                if texts := [text for text in given if text]:
                    message[name] = addresses(texts)
            message["Subject"] = args.subject
            message["Date"] = localtime()
            message["Message-ID"] = make_msgid(domain=place)
        except ValueError as error:
            raise InvalidTask(f"a mail header is not valid: {error}") from None
        message.set_content(args.content, subtype="html" if args.content_type == "html" else "plain")
        for item in args.attachments:
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise InvalidTask('attachments must be objects with "name" and "content" or "base64"')
            try:
                data = _bytes_of(item)
            except (AttributeError, ValueError):
                raise InvalidTask(f"attachments: {item['name']!r} is not base64") from None
            try:
                message.add_attachment(data, maintype="application", subtype="octet-stream", filename=item["name"])
            except ValueError:
                raise InvalidTask(f"attachments: {item['name']!r} is no name of a file") from None
        return message


def refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    """Who was refused, and why in the server's words."""
    return ", ".join(f"{address} ({code} {words(said)})" for address, (code, said) in refused.items())


def words(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:200]


def _explicit(dial: Dial) -> type[smtplib.SMTP]:
    class Mailer(smtplib.SMTP):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            return dial(host, port, timeout)

    return Mailer


def _implicit(dial: Dial) -> type[smtplib.SMTP_SSL]:
    class Mailer(smtplib.SMTP_SSL):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            sock = dial(host, port, timeout)
            try:
                return self.context.wrap_socket(sock, server_hostname=host)
            except BaseException:
                sock.close()
                raise

    return Mailer


def _bytes_of(attachment: Mapping[str, Any]) -> bytes:
    if "base64" in attachment:
        return base64.b64decode("".join(attachment["base64"].split()), validate=True)
    return str(attachment.get("content", "")).encode("utf-8", "replace")


def _check_utf8(smtp: smtplib.SMTP, everybody: list[str]) -> None:
    smtp.ehlo_or_helo_if_needed()
    if not smtp.has_extn("smtputf8") and (odd := [address for address in everybody if not address.isascii()]):
        raise NotSent(f"the mail server takes no addresses beyond ASCII (it offers no SMTPUTF8): {', '.join(odd)}")


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    """As the library does for ASCII; for the rest as RFC 4616 says, in UTF-8, which the library refuses."""
    if (user + password).isascii():
        smtp.login(user, password)
        return
    smtp.ehlo_or_helo_if_needed()
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    try:
        if "PLAIN" in offered:
            code, said = smtp.docmd("AUTH", f"PLAIN {_base64(f'{chr(0)}{user}{chr(0)}{password}')}")
        elif "LOGIN" in offered:
            code, said = smtp.docmd("AUTH", f"LOGIN {_base64(user)}")
            if code == 334:
                code, said = smtp.docmd(_base64(password))
        else:
            raise NotSent("the mail server offers no login (AUTH PLAIN or LOGIN) for a password beyond ASCII")
    except UnicodeEncodeError:  # its text would show what it failed at
        raise InvalidTask("the credential's username or password holds half a character (a lone surrogate)") from None
    if code not in (235, 503):
        raise smtplib.SMTPAuthenticationError(code, said)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
