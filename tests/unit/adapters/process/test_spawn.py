"""A program starts in a session of its own, or it is told exactly why not."""

from __future__ import annotations

import errno
import os
import select
import subprocess
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.process.ports import Command, Exit
from adapters.process.spawn import RUN_TAG, TRIES, Spawned, spawn, utf8
from domain.result import EndReason


def command(*argv: str, cwd: Path | None = None, stdin: bytes | None = None, **environment: str) -> Command:
    return Command(argv, cwd, {"PATH": os.environ["PATH"]} | environment, stdin=stdin)


def printed(found: Spawned | Exit) -> bytes:
    """All that it prints until it ends."""
    assert isinstance(found, Spawned), found
    poll = select.poll()
    poll.register(found.pidfd, select.POLLIN)
    assert poll.poll(10_000), "it does not end"
    data = os.read(found.out, 65_536)
    for descriptor in (found.out, found.err, found.pidfd):
        os.close(descriptor)
    assert found.process.wait() == 0
    return data


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def refused(found: Spawned | Exit) -> tuple[EndReason, int, str]:
    assert isinstance(found, Exit), "it was started"
    return found.reason, found.exit_code, found.error


def test_a_program_leads_a_session_of_its_own_and_bears_the_owner_s_mark() -> None:
    found = spawn(command("sh", "-c", f'cut -d" " -f1,6 /proc/$$/stat; printf %s "${RUN_TAG}"'), "owner")
    assert isinstance(found, Spawned)
    words = printed(found).decode().split()
    assert words[:2] == [str(found.process.pid)] * 2
    assert f"{RUN_TAG}={words[2]}".encode() == found.tag
    assert words[2].startswith("owner.")


@pytest.mark.parametrize(("stdin", "text"), [(None, b""), (b"", b""), (b"a\0b" * 100_000, b"a\0b" * 100_000)])
def test_standard_input_is_what_was_given_or_nothing(stdin: bytes | None, text: bytes) -> None:
    counted = printed(spawn(command("wc", "-c", stdin=stdin)))
    assert int(counted) == len(text)


def test_what_cannot_start_says_why_and_leaves_no_descriptor(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    plain = tmp_path / "plain"
    plain.write_text("text")
    before = descriptors()
    assert refused(spawn(command("no-such-program"))) == (EndReason.NOT_FOUND, 127, "not found: no-such-program")
    assert refused(spawn(command(str(script)))) == (
        EndReason.NOT_FOUND, 127, f"the interpreter of {script} was not found",
    )  # fmt: skip
    assert refused(spawn(command(str(plain)))) == (
        EndReason.NOT_EXECUTABLE, 126, f"not executable: {plain} (Permission denied)",
    )  # fmt: skip
    assert refused(spawn(command("true", cwd=tmp_path / "gone"))) == (
        EndReason.NO_SUCH_DIRECTORY, -1, f"no such working directory: {tmp_path / 'gone'}",
    )  # fmt: skip
    reason, code, text = refused(spawn(command("true", "a\0b")))
    assert (reason, code) == (EndReason.SPAWN_FAILED, -1)
    assert text.startswith("cannot start 'true': ")
    assert descriptors() == before


@pytest.mark.parametrize(("number", "tries"), [(errno.EAGAIN, TRIES), (errno.ENOMEM, TRIES), (errno.E2BIG, 1)])
def test_a_system_without_room_is_asked_again_and_other_refusals_are_final(
    mocker: MockerFixture, number: int, tries: int
) -> None:
    mocker.patch("time.sleep")
    start = mocker.patch("subprocess.Popen", side_effect=OSError(number, os.strerror(number)))
    text = f"cannot start true: {os.strerror(number)}"
    assert refused(spawn(command("true"))) == (EndReason.SPAWN_FAILED, -1, text)
    assert start.call_count == tries


def test_a_child_that_cannot_be_watched_is_killed_and_not_started_again(mocker: MockerFixture) -> None:
    mocker.patch("time.sleep")
    start = mocker.spy(subprocess, "Popen")
    mocker.patch("os.pidfd_open", side_effect=OSError(errno.EMFILE, "Too many open files"))
    reason, _, text = refused(spawn(command("sleep", "1000")))
    assert (reason, text) == (EndReason.SPAWN_FAILED, "cannot start sleep: Too many open files; killed")
    assert start.call_count == 1


@pytest.mark.parametrize(("text", "data"), [("\u65e5", b"\xe6\x97\xa5"), ("a\udcffb", b"a\xffb")])
def test_texts_reach_the_program_as_utf_8_and_undecoded_bytes_as_they_were(text: str, data: bytes) -> None:
    assert utf8(text) == data
    assert printed(spawn(command("sh", "-c", 'printf %s "$1$TEXT"', "sh", text, TEXT=text))) == data * 2
