"""Mail over SMTP."""

from __future__ import annotations

import base64
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import formataddr
from typing import Any

from adapters.runners.dialling import Connections
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
        message = self._mail(user, str(value.get("from_name") or ""))
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
            refused = smtp.send_message(message, to_addrs=[*self._args.to, *self._args.cc, *self._args.bcc])
            if refused:
                raise NotSent(f"refused for {refusals(refused)}; sent to the others")

    def _mail(self, user: str, name: str) -> EmailMessage:
        args, message = self._args, EmailMessage()
        try:
            message["From"] = formataddr((name or user, user))
            message["To"] = ", ".join(args.to)
            if args.cc:
                message["Cc"] = ", ".join(args.cc)
            if args.reply_to:
                message["Reply-To"] = args.reply_to
            message["Subject"] = args.subject
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


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    try:
        smtp.login(user, password)
    except UnicodeEncodeError:  # its text would show what it failed at
        raise InvalidTask("the credential's username or password holds characters that are not ASCII") from None
