"""Which Python runs the program."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytest_mock import MockerFixture

from adapters.guardian import interpreter
from adapters.guardian.interpreter import CONFIGURATION, TRIED, go_on_where_the_packages_are, safety_flags


class Executed(BaseException):
    """In the place of the program that would go on."""


@pytest.fixture
def lacking(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python has neither of two packages."""
    mocker.patch.object(interpreter, "find_spec", lambda name: None if name in ("click", "pydantic") else object())
    monkeypatch.delenv(TRIED, raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-P", "program.py", "run"])


def test_a_python_that_has_all_goes_on(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRIED, "1")
    execv = mocker.patch("os.execv")
    go_on_where_the_packages_are(Path("/nowhere"))
    execv.assert_not_called()
    assert TRIED not in os.environ, "tasks are not to find it"


@pytest.mark.usefixtures("lacking")
def test_a_python_that_lacks_packages_goes_on_as_the_one_beside_the_program(mocker: MockerFixture) -> None:
    execv = mocker.patch("os.execv", side_effect=Executed)
    with pytest.raises(Executed):
        go_on_where_the_packages_are(Path("/home"))
    python = Path("/home/.venv/bin/python")
    execv.assert_called_once_with(python, [str(python), "-P", "program.py", "run"])
    assert os.environ[TRIED] == "1"


@pytest.mark.usefixtures("lacking")
@pytest.mark.parametrize("tried", [False, True])
def test_where_there_is_no_use_in_that_one_line_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tried: bool
) -> None:
    if tried:
        monkeypatch.setenv(TRIED, "1")
    with pytest.raises(SystemExit) as end:
        go_on_where_the_packages_are(tmp_path)
    assert end.value.code == CONFIGURATION
    said = capsys.readouterr().err
    assert said.startswith(sys.executable)
    assert said.endswith(f"has no package click, pydantic: run `make setup` in {tmp_path}\n")


def test_a_python_that_is_too_old_is_told_so(mocker: MockerFixture) -> None:
    mocker.patch.object(sys, "version_info", (3, 10, 9))
    assert interpreter.what_is_lacking() == "is older than Python 3.11"


@pytest.mark.parametrize(
    ("isolated", "environment", "site", "path", "given"),
    [(0, 0, 0, False, []), (1, 1, 1, True, ["-I", "-E", "-s", "-P"]), (0, 1, 0, True, ["-E", "-P"])],
)
def test_another_python_trusts_no_more_than_this_one(
    mocker: MockerFixture, isolated: int, environment: int, site: int, path: bool, given: list[str]
) -> None:
    flags = SimpleNamespace(isolated=isolated, ignore_environment=environment, no_user_site=site, safe_path=path)
    mocker.patch.object(sys, "flags", flags)
    assert safety_flags() == given
