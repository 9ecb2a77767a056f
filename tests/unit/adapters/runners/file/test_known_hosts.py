"""Which ssh host keys are known, by the lines of OpenSSH's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.runners.file.known_hosts import KnownHosts
from domain.errors import InvalidTask


@pytest.mark.parametrize(
    ("lines", "host", "port", "verdict"),
    [
        ("example.com ssh-ed25519 KEY comment", "example.com", 22, "known"),
        ("example.com ssh-ed25519 KEY", "Example.COM", 22, "known"),
        ("other,example.com ssh-ed25519 KEY", "example.com", 22, "known"),
        ("*.example.com ssh-ed25519 KEY", "a.example.com", 22, "known"),
        ("*.example.com,!a.example.com ssh-ed25519 KEY", "a.example.com", 22, "unknown"),
        ("example.com ssh-ed25519 KEY", "example.com", 2222, "unknown"),
        ("[example.com]:2222 ssh-ed25519 KEY", "example.com", 2222, "known"),
        ("[example.com]:2222 ssh-ed25519 KEY", "example.com", 22, "unknown"),
        ("[ecm]:2222 ssh-ed25519 KEY", "e", 2222, "unknown"),  # brackets are no set of letters
        ("example.com ssh-ed25519 OTHER", "example.com", 22, "changed"),
        ("example.com ssh-rsa KEY", "example.com", 22, "changed"),
        ("@revoked example.com ssh-ed25519 KEY\nexample.com ssh-ed25519 KEY", "example.com", 22, "revoked"),
        ("@cert-authority example.com ssh-ed25519 KEY", "example.com", 22, "unknown"),
        ("# example.com ssh-ed25519 KEY\n\nexample.com ssh-ed25519\n|1|x| ssh-ed25519 KEY", "example.com", 22, "unknown"),
    ],
)  # fmt: skip
def test_a_key_is_known_by_its_lines(lines: str, host: str, port: int, verdict: str) -> None:  # G68
    assert KnownHosts(lines + "\n").of(host, port).judge("ssh-ed25519", "KEY") == verdict


def test_a_hashed_name_is_known(tmp_path: Path) -> None:
    # made by ssh-keygen -H
    line = "|1|MCfRBw7Mk1cFjG4Z1Tv9uIu0BII=|dsfo1hh0o0J389FQYg+WDFUCO6w= ssh-ed25519 KEY\n"
    (tmp_path / "hosts").write_text(line)
    hosts = KnownHosts(str(tmp_path / "hosts"))
    assert hosts.of("example.com", 22).judge("ssh-ed25519", "KEY") == "known"
    assert hosts.of("example.com", 2222).judge("ssh-ed25519", "KEY") == "unknown"


def test_the_files_of_the_user_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    hosts = KnownHosts("")
    hosts.remember("example.com", 22, "ssh-ed25519", "KEY")
    assert (tmp_path / ".ssh" / "known_hosts").read_text() == "example.com ssh-ed25519 KEY\n"
    assert (tmp_path / ".ssh" / "known_hosts").stat().st_mode & 0o777 == 0o600
    assert hosts.of("example.com", 22).judge("ssh-ed25519", "KEY") == "known"


def test_a_key_is_added_as_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("a ssh-ed25519 OTHER")  # edited by hand, without a newline
    hosts = KnownHosts(str(tmp_path / "hosts"))
    hosts.remember("b", 22, "ssh-ed25519", "KEY")
    assert hosts.of("a", 22).judge("ssh-ed25519", "OTHER") == hosts.of("b", 22).judge("ssh-ed25519", "KEY") == "known"


def test_lines_are_not_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    KnownHosts("a ssh-ed25519 KEY").remember("example.com", 22, "ssh-ed25519", "KEY")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidTask, match="Is a directory"):
        KnownHosts(str(tmp_path)).of("example.com", 22)
    assert KnownHosts(str(tmp_path / "missing")).of("example.com", 22).judge("ssh-ed25519", "KEY") == "unknown"
