"""Scripts: which ones may run, how they are called, and that an inline one is private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.process.ports import Command, Exit
from adapters.runners.script import CODE_LIMIT, ScriptRunner
from domain.errors import InvalidTask
from domain.result import EndReason
from domain.runner import ExecutionContext
from domain.status import Status
from tests.support.runner_fakes import Programs

INLINE: dict[str, Any] = {"language": "python", "type": "inline", "code": "print(1)"}


def made(programs: Programs, directories: list[str] | None = None, /, **args: Any) -> ScriptRunner:
    runner = ScriptRunner(programs, directories=directories or [])
    runner.parse_args("", json.dumps(args))
    return runner


def test_an_inline_script_is_a_private_file_and_gone_with_the_run() -> None:
    seen: list[tuple[int, int, str]] = []

    def ended(command: Command) -> Exit:
        path = Path(command.argv[1])
        seen.append((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777, path.read_text()))
        return Exit(EndReason.COMPLETED, 0, stdout=b"1\n")

    runner = made(programs := Programs(ended), **INLINE)
    assert runner.execute().output == "1\n"
    runner.cleanup()
    runner.cleanup()
    assert seen == [(0o600, 0o700, "print(1)")]
    assert not Path(programs.commands[0].argv[1]).parent.exists()


@pytest.mark.parametrize(
    ("language", "interpreter", "suffix"),
    [("python", "python3", ".py"), ("JS ", "node", ".js"), ("bash", "/bin/bash", ".sh")],
)
def test_a_language_has_its_interpreter(language: str, interpreter: str, suffix: str) -> None:
    runner = made(programs := Programs(), **INLINE | {"language": language})
    runner.execute()
    runner.cleanup()
    assert (programs.commands[0].argv[0], Path(programs.commands[0].argv[1]).suffix) == (interpreter, suffix)


def test_names_are_filled_in_interpreter_file_and_arguments(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    args = {"language": "python", "type": "file", "file": "${D}/x.py", "args": ["${A}", "b c"], "interpreter": "py${V}"}
    runner = made(programs := Programs(), [str(tmp_path)], **args)
    runner.execute(ExecutionContext(environment={"D": str(tmp_path), "A": "1 2", "V": "3"}))
    assert list(programs.commands[0].argv) == ["py3", f"{tmp_path}/x.py", "1 2", "b c"]


@pytest.mark.parametrize("name", ["../outside.sh", "link.sh", "missing.sh", ""])
def test_a_file_that_does_not_really_lie_below_an_allowed_directory_is_not_run(tmp_path: Path, name: str) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "outside.sh").touch()
    (allowed / "link.sh").symlink_to(tmp_path / "outside.sh")
    runner = made(programs := Programs(), [str(allowed)], language="sh", type="file", file=f"{allowed}/{name}")
    result = runner.execute()
    assert (result.end_reason, programs.commands) == (EndReason.INVALID_TASK, [])
    assert "ALLOWED_SCRIPT_DIRS" in result.error


def test_how_the_script_ended_is_how_the_task_ended() -> None:
    exit_ = Exit(EndReason.EXIT_CODE, 3, error="exit code 3", stdout=b"out", stderr=b"why\n")
    runner = made(Programs(exit_), **INLINE)
    result = runner.execute()
    runner.cleanup()
    assert (result.status, result.exit_code, result.output, result.error) == (
        Status.FAILED, 3, "out", "exit code 3\nwhy",
    )  # fmt: skip


def test_a_working_directory_that_cannot_be_had_fails_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = made(programs := Programs(), **INLINE).execute(ExecutionContext(working_dir=tmp_path / "file"))
    assert (result.end_reason, programs.commands) == (EndReason.NO_SUCH_DIRECTORY, [])


@pytest.mark.parametrize(
    ("change", "told"),
    [({"language": "cobol"}, "known: python"), ({"type": "url"}, "file or inline"), ({"code": " "}, "code is missing"),
     ({"code": "ü" * (CODE_LIMIT // 2 + 1)}, "longer than"), ({"type": "file"}, "file is missing")],
)  # fmt: skip
def test_a_wrong_script_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidTask, match=told):
        made(Programs(), **INLINE | change)
