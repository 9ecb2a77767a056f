"""The connection of one run to another machine: known, entered as one user, and ended from any thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from adapters.net.connections import Connections
from adapters.runners.file.login import Login
from adapters.runners.file.ports import FileTrouble, PeerLost
from domain.errors import MissingExtra
from domain.runner import CancelRequest, Urgency

if TYPE_CHECKING:
    from paramiko import SFTPClient, Transport

CONNECT = 30.0  # seconds for each step: to connect, greet, agree, enter, open
ANSWER = 60.0  # seconds that the server may think about one request
LEAVE = 1.0  # seconds that a stopped run gets to remove what it has begun on the other machine
JOIN = 5.0  # seconds for the library's thread to see that its socket is dead


class SshConnection:
    """``sftp`` and ``close`` are for the thread that works, ``cancel`` for any."""

    def __init__(self, login: Login, say: Callable[[str], None]) -> None:
        self._login, self._say = login, say
        self._connections = Connections()
        self._guard = threading.Lock()
        self._transport: Transport | None = None
        self._leaving: threading.Timer | None = None
        self._ready = self._closed = False

    def cancel(self, request: CancelRequest) -> None:
        """End the connection: at once, or for a polite request on an open one within a second."""
        with self._guard:
            if request.urgency is Urgency.NOW or not self._ready:
                self._connections.hang_up()
            elif self._leaving is None and not self._closed:
                self._leaving = threading.Timer(LEAVE, self._connections.hang_up)
                self._leaving.daemon, self._leaving.name = True, "sftp-leave"
                self._leaving.start()

    def sftp(self) -> SFTPClient:
        """Connect and enter. Raises FileTrouble, InvalidTask, MissingExtra."""
        try:
            import paramiko
        except ImportError:
            raise MissingExtra("a file task of another machine", "sftp") from None
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs with tracebacks what it raises as well
        key = self._login.private_key()
        try:
            transport = self._connect(paramiko.Transport)
            self._verify(transport)
            self._enter(transport, key)
            channel = transport.open_session(timeout=CONNECT)
            channel.settimeout(ANSWER)
            channel.invoke_subsystem("sftp")
            client = paramiko.SFTPClient(channel)
        except paramiko.AuthenticationException as error:
            raise FileTrouble(f"{self._where}: not let in as {self._login.username}: {error}") from None
        except (OSError, EOFError, paramiko.SSHException, paramiko.SFTPError) as error:
            raise PeerLost(f"{self._where}: {str(error) or type(error).__name__}") from None
        with self._guard:
            self._ready = True
        self._say(f"connected to {self._where} as {self._login.username}")
        return client

    def close(self) -> None:
        """End the connection and the threads. Idempotent."""
        with self._guard:
            self._closed, self._ready = True, False
            leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving.cancel()
            leaving.join()
        self._connections.hang_up()
        if self._transport is not None:
            self._transport.close()
            if self._transport.ident is not None:
                self._transport.join(JOIN)
            self._transport.sock.close()
        self._connections.close()

    @property
    def _where(self) -> str:
        return f"{self._login.host}:{self._login.port}"

    def _connect(self, make: Callable[..., Transport]) -> Transport:
        login = self._login
        sock = self._connections.dial(login.host, login.port, CONNECT)
        self._transport = transport = make(sock)
        transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = CONNECT
        # Ask for a key of a kind that is known: the server may have others as well.
        kinds = [kind for kind, _ in login.hosts.of(login.host, login.port).accepted]
        if "ssh-rsa" in kinds:
            kinds += ["rsa-sha2-512", "rsa-sha2-256"]
        options = transport.get_security_options()
        options.key_types = sorted(options.key_types, key=lambda kind: kind not in kinds)
        transport.start_client(timeout=CONNECT)
        if not transport.initial_kex_done:
            raise TimeoutError("the server did not greet in time")
        return transport

    def _verify(self, transport: Transport) -> None:
        login, key = self._login, transport.get_remote_server_key()
        kind, text, shown = key.get_name(), key.get_base64(), f"{key.get_name()} {key.fingerprint}"
        verdict = login.hosts.of(login.host, login.port).judge(kind, text)
        if verdict == "unknown" and login.accept_new:
            self._say(f"{self._where}: new host key {shown}")
            try:
                login.hosts.remember(login.host, login.port, kind, text)
            except OSError as error:
                self._say(f"the host key was not remembered: {error.strerror}")
        elif verdict != "known":
            raise FileTrouble(f"{self._where}: the host key {shown} is {verdict} (known hosts)")

    def _enter(self, transport: Transport, key: object) -> None:
        user = self._login.username
        if key is not None:
            more = transport.auth_publickey(user, key)  # type: ignore[arg-type]
        else:
            more = transport.auth_password(user, self._login.password())
        if more:
            raise FileTrouble(f"{self._where}: wants more than one proof of {user}: {', '.join(more)}")
