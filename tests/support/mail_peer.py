"""A real SMTP server (aiosmtpd) that keeps what it is given instead of delivering it."""

from __future__ import annotations

import ssl
import warnings
from types import TracebackType
from typing import Any

from tests.support.peers import free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # aiosmtpd asks for older forms of its dependencies
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult, LoginPassword

USER, PASSWORD = "me@here.org", "hunter2"


class MailBox:
    """An SMTP server on a free loopback port for the time of a ``with`` block; one login is valid.

    With ``tls`` it offers STARTTLS and asks for a login behind it. ``refuse`` is the recipient that it does not take.
    ``options`` are those of aiosmtpd's Controller.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        refuse: str = "",
        login: tuple[str, str] = (USER, PASSWORD),
        **options: Any,
    ) -> None:
        self.mails: list[tuple[list[str], str]] = []
        self.encrypted: list[bool] = []
        self._refuse = refuse
        self._login = login
        self.port = free_port()
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=tls,
            auth_required=tls is not None,
            authenticator=self._authenticate,
            **options,
        )

    def __enter__(self) -> MailBox:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode()) if isinstance(data, LoginPassword) else ()
        return AuthResult(success=given == self._login, handled=False)  # the server answers

    # What the server calls, by its names.

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address == self._refuse:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((list(envelope.rcpt_tos), envelope.content.decode()))
        self.encrypted.append(session.ssl is not None)
        return "250 taken"
