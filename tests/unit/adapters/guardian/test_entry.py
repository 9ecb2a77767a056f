"""The first thing that a start does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.guardian import entry, guardian
from adapters.guardian.entry import ensure_guardian, enter, runs_the_worker, start_well


@pytest.fixture(autouse=True)
def open_to_debuggers(mocker: MockerFixture) -> None:
    """The tests' own process stays as it is."""
    mocker.patch.object(guardian, "forbid_inspection")


class Executed(BaseException):
    """In the place of the program that would go on."""


@pytest.fixture
def executed(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that this process would have gone on as."""
    lines: list[list[str]] = []

    def execv(program: str, line: list[str]) -> None:
        assert program == sys.executable
        lines.append(line)
        raise Executed

    mocker.patch("os.execv", execv)
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-P", "program.py", "run"])
    return lines


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        ("", True),
        ("run", True),
        ("--config other.json run", True),
        ("--config run --set a=b", True),
        ("--verbose", True),
        ("--set worker.name=x check", False),
        ("config show", False),
        ("--help", False),
        ("--version", False),
        ("run --help", False),
        ("run -h", False),
        ("--config", True),
    ],
)
def test_the_command_line_tells_whether_the_worker_runs(line: str, runs: bool) -> None:
    assert runs_the_worker(line.split()) is runs


def test_the_worker_under_a_guardian_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
    run = mocker.patch.object(guardian.Guardian, "run")
    monkeypatch.setenv(guardian.FD_VARIABLE, "7")
    enter(["run"], Path.cwd())
    monkeypatch.delenv(guardian.FD_VARIABLE)
    enter(["check"], Path.cwd())
    run.assert_not_called()


def test_a_start_of_the_worker_becomes_its_guardian_and_ends_as_it_says(
    monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    monkeypatch.delenv(guardian.FD_VARIABLE, raising=False)
    mocker.patch.object(guardian.Guardian, "run", return_value=75)
    with pytest.raises(SystemExit) as end:
        enter([], Path.cwd())
    assert end.value.code == 75


def test_a_program_that_has_imported_much_is_replaced_by_a_small_guardian_of_the_same_line(
    monkeypatch: pytest.MonkeyPatch, executed: list[list[str]]
) -> None:
    monkeypatch.delenv(guardian.FD_VARIABLE, raising=False)
    ensure_guardian(["check"])
    assert executed == []
    with pytest.raises(Executed):
        ensure_guardian(["run"])
    small = [sys.executable, "-I", os.path.abspath(entry.__file__)]
    assert executed == [[*small, sys.executable, "-P", "program.py", "run"]]


def test_a_locale_that_is_not_utf_8_is_left_by_starting_over_once(
    mocker: MockerFixture, executed: list[list[str]]
) -> None:
    start_well()
    assert executed == []
    mocker.patch("sys.getfilesystemencoding", return_value="ascii")
    with pytest.raises(Executed):
        start_well()
    assert executed == [[sys.executable, "-X", "utf8", "-P", "program.py", "run"]]
    mocker.patch.dict(sys._xoptions, {"utf8": True})
    start_well()
    assert len(executed) == 1


def test_a_closed_standard_descriptor_is_replaced_by_one_that_children_inherit(executed: list[list[str]]) -> None:
    made: list[int] = []
    opened = os.open

    def note(path: str, flags: int) -> int:
        assert path == os.devnull
        made.append(opened(path, flags))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:  # no longer than for the call: pytest itself asks too
        patch.setattr("os.fstat", lambda number: None if number else os.stat("/no/such/file"))
        patch.setattr("os.open", note)
        with pytest.raises(Executed):
            start_well()
    assert [os.get_inheritable(number) for number in made] == [True]
    os.close(made[0])
    assert executed == [[sys.executable, "-P", "program.py", "run"]]
