"""The git program: its words, and what it says where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.process.ports import Exit
from adapters.runners.command import ProcessOptions
from adapters.runners.git.access import HARDENED
from adapters.runners.git.directory import GitFailed
from adapters.runners.git.program import Git
from domain.result import EndReason
from domain.runner import CancelToken
from tests.support.runner_fakes import Programs


def made(programs: Programs, log: Any = lambda _: None) -> Git:
    return Git(lambda it: programs.run(it, CancelToken()), {"A": "1"}, log, ProcessOptions(grace=3, keep=99), "t1")


def test_every_command_is_hardened_and_settings_come_before_its_name() -> None:
    programs = Programs(Exit(EndReason.COMPLETED, 0, stdout=b" told \n"))
    assert made(programs)(Path("/d"), "gc", "--auto", settings=("-c", "gc.auto=1"), timeout=7.0) == "told"
    command = programs.commands[0]
    words = list(command.argv)
    assert words[0] == "git"
    assert words[-4:] == ["-c", "gc.auto=1", "gc", "--auto"]
    assert [f"{key}={value}" for key, value in HARDENED.items()] == words[2 : 2 * len(HARDENED) + 1 : 2]
    assert (command.cwd, command.timeout, command.grace, command.keep, command.task_id) == (
        Path("/d"),
        7.0,
        3,
        99,
        "t1",
    )


def test_a_quiet_command_is_in_no_log() -> None:
    programs, logged = Programs(), list[bytes]()
    git = made(programs, logged.append)
    git(Path("/d"), "fetch")
    git(Path("/d"), "rev-parse", quiet=True)
    for command in programs.commands:
        command.log(b"x")
    assert logged == [b"x"]


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        (EndReason.EXIT_CODE, EndReason.FAILED),
        (EndReason.TIMEOUT, EndReason.TIMEOUT),
        (EndReason.STOPPED, EndReason.STOPPED),
    ],
)
def test_a_failure_has_gits_own_words_and_its_reason(reason: EndReason, kept: EndReason) -> None:
    ended = Exit(reason, 128, error="exit code 128", stderr=b"x" * 5000 + b"fatal: no\n")
    with pytest.raises(GitFailed) as caught:
        made(Programs(ended))(Path("/d"), "fetch", "--", "url")
    assert (caught.value.reason, caught.value.exit_code, caught.value.command) == (kept, 128, "fetch")
    assert caught.value.text.startswith("git fetch failed: xxx")
    assert caught.value.text.endswith("fatal: no")
    assert len(caught.value.text) < 2100


def test_where_git_says_nothing_the_end_of_its_process_is_told() -> None:
    with pytest.raises(GitFailed, match="git fetch failed: killed by signal 9"):
        made(Programs(Exit(EndReason.SIGNAL, 137, error="killed by signal 9")))(Path("/d"), "fetch")
