"""How git and ssh get their secrets."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from adapters.runners.git.askpass import Askpass, https_answers, passphrase_answers


def test_the_helper_answers_from_however_deep_a_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    askpass = Askpass(deep, https_answers("h.example", "ada", "s3cret"))
    try:
        asked = ("Password for 'https://ada@h.example': ", "Password for 'https://ada@other.example': ")
        told = [subprocess.run([str(askpass.program), text], capture_output=True, check=False) for text in asked]
    finally:
        askpass.close()
    assert [(done.stdout, done.returncode) for done in told] == [(b"s3cret\n", 0), (b"", 1)]


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("Username for 'https://h.example': ", "ada"), ("Password for 'https://ada@h.example': ", "s3cret"),
        ("Password for 'https://ada@H.Example/x.git': ", "s3cret"), ("Password for 'https://h.example:8443': ", None),
        ("Password for 'https://h.example.evil.org': ", None), ("Password for 'http://h.example': ", None),
        ("Password for 'https://h.example@evil.org': ", None), ("Enter passphrase for key '/k': ", None), ("", None),
    ],
)  # fmt: skip
def test_only_the_host_of_the_credential_learns_it(prompt: str, told: str | None) -> None:
    assert https_answers("h.example", "ada", "s3cret")(prompt) == told


def test_a_passphrase_is_for_a_key_alone() -> None:
    answer = passphrase_answers("s3cret")
    assert answer("Enter passphrase for key '/k': ") == "s3cret"
    assert answer("Password for 'https://h.example': ") is None


def test_it_ends_while_somebody_asks_and_a_second_time(tmp_path: Path) -> None:
    askpass = Askpass(tmp_path, lambda _: "s3cret")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(tmp_path / "ask"))
        peer.sendall(b"Password")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(100) == b"=s3cret"
    askpass.close()
    askpass.close()
    assert not askpass._thread.is_alive()


def test_one_that_hangs_up_without_a_question_stops_no_other(tmp_path: Path) -> None:
    askpass = Askpass(tmp_path, lambda prompt: prompt or None)
    for question, told in ((b"", b""), (b"b", b"=b")):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(tmp_path / "ask"))
            peer.sendall(question)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(100) == told
    askpass.close()


def test_the_program_holds_no_secret_and_is_this_users_alone(tmp_path: Path) -> None:
    askpass = Askpass(tmp_path, passphrase_answers("s3cret"))
    askpass.close()
    assert askpass.program.stat().st_mode & 0o777 == 0o700
    assert not [path for path in tmp_path.iterdir() if path.is_file() and b"s3cret" in path.read_bytes()]
