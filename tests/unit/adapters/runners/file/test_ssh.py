"""The connection of one run to another machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.file.login import login_of
from adapters.runners.file.ports import FileTrouble, PeerLost
from adapters.runners.file.sftp import Sftp
from adapters.runners.file.ssh import SshConnection
from adapters.runners.file.task import FileArgs
from domain.result import EndReason
from domain.runner import CancelRequest, Credential, Urgency
from tests.support.sftp_peer import PasswordPeer


class Lines:
    def __init__(self, peer: PasswordPeer) -> None:
        self._peer = peer
        self.said: list[str] = []
        self.made: list[SshConnection] = []

    def to(self, password: str = "", **args: Any) -> SshConnection:
        value = {"username": self._peer.user, "password": password or self._peer.password}
        known: dict[str, Any] = {"host": "127.0.0.1", "port": self._peer.port, "known_hosts": self._peer.known_hosts}
        login = login_of(FileArgs(**known | args), Credential("c", "username_password", "it", value), "")
        self.made.append(SshConnection(login, self.said.append))
        return self.made[-1]


@pytest.fixture
def lines(peer: PasswordPeer) -> Iterator[Lines]:
    made = Lines(peer)
    yield made
    for line in made.made:
        line.close()
        line.close()


def test_who_is_let_in_is_told_without_the_password(lines: Lines, peer: PasswordPeer) -> None:
    Sftp(lines.to().sftp(), "peer").look(peer.root)
    assert lines.said == [f"connected to 127.0.0.1:{peer.port} as ada"]


def test_a_wrong_password_is_refused_and_not_told(lines: Lines) -> None:
    with pytest.raises(FileTrouble, match="not let in as ada") as caught:
        lines.to(password="wr0ng").sftp()
    assert "wr0ng" not in str(caught.value)


def test_a_host_that_nobody_knows_is_not_entered(lines: Lines) -> None:
    with pytest.raises(FileTrouble, match="is unknown"):
        lines.to(known_hosts="other ssh-ed25519 KEY\n").sftp()


def test_a_host_key_that_changed_is_refused_also_where_new_ones_are_taken(lines: Lines, peer: PasswordPeer) -> None:
    kind = peer.known_hosts.split()[1]
    with pytest.raises(FileTrouble, match="is changed"):
        lines.to(known_hosts=f"[127.0.0.1]:{peer.port} {kind} AAAA\n", host_key_check="accept-new").sftp()


def test_a_new_key_is_taken_and_remembered_where_the_task_says_so(
    lines: Lines, peer: PasswordPeer, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    lines.to(known_hosts=str(hosts), host_key_check="accept-new").sftp()
    assert hosts.read_text() == peer.known_hosts
    assert "new host key" in lines.said[0]
    lines.to(known_hosts=str(hosts)).sftp()


def test_where_nobody_listens_the_peer_is_lost(lines: Lines) -> None:
    with pytest.raises(PeerLost, match=r"127\.0\.0\.1:1: "):
        lines.to(port=1).sftp()


def test_a_cancel_before_the_connection_keeps_it_from_being_made(lines: Lines) -> None:
    line = lines.to()
    line.cancel(CancelRequest(EndReason.STOPPED))
    with pytest.raises(PeerLost):
        line.sftp()


def asked(sftp: Sftp, path: Path) -> None:
    """Again and again, until it is lost."""
    while True:
        sftp.look(path)


@pytest.mark.parametrize("urgency", list(Urgency))
def test_a_cancel_ends_an_open_connection_at_once_or_when_the_run_had_its_second(
    lines: Lines, peer: PasswordPeer, urgency: Urgency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.runners.file.ssh.LEAVE", 0.05)
    line = lines.to()
    sftp = Sftp(line.sftp(), "peer")
    line.cancel(CancelRequest(EndReason.STOPPED, urgency))
    line.cancel(CancelRequest(EndReason.STOPPED, urgency))
    with pytest.raises(PeerLost):
        asked(sftp, peer.root)
