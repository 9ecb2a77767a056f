"""The command runner: what a command means, and how its end is told."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.process.environment import child_environment
from adapters.process.ports import Command
from adapters.process.supervisor import Supervisor
from adapters.runners.command import CommandRunner, ProcessOptions, shell_text
from domain.errors import InvalidTask, InvalidTransition
from domain.result import EndReason, Result
from domain.runner import CancelToken, ExecutionContext
from domain.status import Status


@pytest.fixture(scope="module")
def processes() -> Iterator[Supervisor]:
    made = Supervisor()
    made.run(Command(["true"], None, os.environ), CancelToken())  # its thread starts here and not within a test
    yield made
    made.close()


def run(processes: Supervisor, command: str, args: str = "", context: ExecutionContext | None = None) -> Result:
    runner = CommandRunner(processes)
    runner.parse_args(command, args)
    return runner.execute(context)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("", "cmd"), ("  ", "cmd"), ("[]", "cmd"), (" [] ", "cmd"), ("null", "cmd"),
        ('["a b","c"]', "cmd 'a b' c"), ('["","#x","~"]', "cmd '' '#x' '~'"),
        (r'["\ud800"]', "cmd '\ufffd'"), ("plain text", "cmd plain text"), ("{}", "cmd {}"), ("[1,2]", "cmd [1,2]"), ('"x y"', 'cmd "x y"'),
    ],
)  # fmt: skip
def test_args_are_a_list_of_words_or_text_as_it_stands(args: str, text: str) -> None:  # C4, C5
    assert shell_text("cmd", args) == text


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12), max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words_arrive_unchanged(processes: Supervisor, words: list[str]) -> None:
    result = run(processes, "printf '%s\\0' x", json.dumps(words))
    assert result.output.split("\0")[1:-1] == words


@pytest.mark.parametrize("command", ["", "  ", "a\0b"])
def test_nothing_to_run_is_refused(command: str) -> None:
    with pytest.raises(InvalidTask):
        CommandRunner().parse_args(command, "")


def test_standard_error_of_a_success_is_log_and_no_error(processes: Supervisor) -> None:
    result = run(processes, "echo out; echo warn >&2")
    assert (result.status, result.output, result.error) == (Status.SUCCESS, "out\n", "")
    assert "warn" in result.execute_log


def test_the_default_directory_is_made_and_used(processes: Supervisor, tmp_path: Path) -> None:
    where = tmp_path / "tasks" / "t1"
    assert run(processes, "pwd", context=ExecutionContext(default_dir=where)).output.strip() == str(where)
    assert oct(where.stat().st_mode & 0o777) == "0o755"


@pytest.mark.parametrize(
    ("name", "command", "stays"),
    [
        ("t1", "true", False),
        ("t1", "touch kept", True),
        ("job", "true", True),
        ("t1", "cd / && find $OLDPWD -delete", False),
    ],
)
def test_the_directory_of_one_task_goes_with_it_when_it_is_empty(
    processes: Supervisor, tmp_path: Path, name: str, command: str, stays: bool
) -> None:
    where = tmp_path / "tasks" / name
    run(processes, command, context=ExecutionContext(task_id="t1", default_dir=where))
    assert where.exists() is stays
    asked = tmp_path / "t1"
    run(processes, "true", context=ExecutionContext(task_id="t1", working_dir=asked, default_dir=where))
    assert asked.exists()


def test_a_directory_that_cannot_be_had_ends_the_task_and_not_the_worker(
    processes: Supervisor, tmp_path: Path
) -> None:  # C1
    file = tmp_path / "file"
    file.touch()
    for bad in (file, file / "below"):
        result = run(processes, "pwd", context=ExecutionContext(working_dir=bad))
        assert (result.status, result.end_reason) == (Status.FAILED, EndReason.NO_SUCH_DIRECTORY)
        assert str(file) in result.error


def where(asked: str, **environment: str) -> tuple[Status, str]:
    runner = CommandRunner()
    runner.parse_args("pwd", "")
    result = runner.execute(ExecutionContext(working_dir=Path(asked), environment=environment))
    return result.status, result.output.strip() or result.error


def test_a_working_directory_is_meant_as_a_shell_means_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "worker"))
    monkeypatch.setenv("PLACE", str(tmp_path / "place"))
    for asked, found in {
        "~": "worker", "~/x y": "worker/x y", "$HOME/x": "worker/x", "${PLACE}/x": "place/x", "$PLACE": "place",
        "r/$NAME/z": "r/m/z", "r/~": "r/~", "r/a$": "r/a$", "r/$$": "r/$$", "r/${": "r/${", "r/$1x": "r/$1x",
    }.items():  # fmt: skip
        assert where(asked, NAME="m") == (Status.SUCCESS, str(tmp_path / found)), asked
    assert where("~/x", HOME=str(tmp_path / "own")) == (Status.SUCCESS, str(tmp_path / "own/x"))
    assert where("$HOME/x", HOME=str(tmp_path / "own")) == (Status.SUCCESS, str(tmp_path / "own/x"))
    assert where("~root") == (Status.SUCCESS, "/root") or os.getuid() != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "place", "r", "worker"]


def test_a_directory_that_is_called_like_a_variable_and_is_there_is_used(tmp_path: Path) -> None:
    named = tmp_path / "$RECYCLE.BIN"
    named.mkdir()
    assert where(str(named)) == (Status.SUCCESS, str(named))


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("$NO_SUCH/x", "NO_SUCH"),
        ("${NO_SUCH}", "NO_SUCH"),
        ("$API_KEY/x", "API_KEY"),
        ("~nobody-here/x", "nobody-here"),
    ],
)
def test_a_working_directory_that_means_nothing_fails_and_makes_nothing(
    asked: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", "hunter2")
    status, error = where(asked)
    assert status is Status.FAILED
    assert named in error
    assert "write the path" in error
    assert "hunter2" not in error
    assert list(tmp_path.iterdir()) == []


def test_the_task_s_environment_wins_and_the_token_is_not_in_it(processes: Supervisor) -> None:  # C11
    options = ProcessOptions(secrets=lambda: ("hunter2-token",), environment={
        "PATH": "/usr/bin:/bin", "API_KEY": "k", "OTHER": "has hunter2-token inside", "A": "1"})  # fmt: skip
    runner = CommandRunner(processes, options)
    runner.parse_args("env", "")
    lines = runner.execute(ExecutionContext(environment={"A": "2", "B": "3"})).output.splitlines()
    assert {"A=2", "B=3"} <= set(lines)
    assert not any("hunter2" in line or line.startswith("API_KEY") for line in lines)
    assert child_environment({"X": "1", "CRONJOB_CREDENTIAL_DB": "{}"}, {}, ("",)) == {"X": "1"}


def test_a_second_execute_is_refused(processes: Supervisor) -> None:
    runner = CommandRunner(processes)
    runner.parse_args("true", "")
    runner.execute()
    with pytest.raises(InvalidTransition):
        runner.execute()


def test_alone_as_a_library_it_stops_and_times_out() -> None:
    runner = CommandRunner()
    runner.parse_args("sleep", '["300"]')
    threading.Timer(0.1, runner.stop).start()
    result = runner.execute()
    assert (result.status, runner.status, runner.result) == (Status.STOPPED, Status.STOPPED, result)
    late = CommandRunner()
    late.parse_args("sleep", '["300"]')
    late.set_timeout(0.1)
    assert late.execute().status is Status.TIMEOUT
    killed = CommandRunner()
    killed.parse_args("sleep", '["300"]')
    killed.kill()
    assert killed.execute().end_reason is EndReason.KILLED
    killed.cleanup()


def test_a_stop_or_kill_after_the_end_changes_nothing(processes: Supervisor) -> None:  # C7
    runner = CommandRunner(processes)
    runner.parse_args("true", "")
    result = runner.execute()
    for end in (runner.stop, runner.kill, runner.cleanup, runner.stop):
        end()
    assert (runner.status, runner.result) == (Status.SUCCESS, result)


def test_many_threads_may_ask_and_end_a_run_at_once(processes: Supervisor) -> None:  # C8, A5
    runner, up = CommandRunner(processes), threading.Event()
    runner.parse_args("echo up; sleep 300", "")
    seen: list[Status] = []

    def meddle() -> None:
        up.wait(10)
        for _ in range(50):
            seen.append(runner.status)
            runner.stop()
            runner.kill()
            seen.append(runner.result.status if runner.result else Status.RUNNING)

    threads = [threading.Thread(target=meddle) for _ in range(8)]
    for thread in threads:
        thread.start()
    result = runner.execute(ExecutionContext(log=lambda _: up.set()))
    for thread in threads:
        thread.join(10)
    assert result.status is Status.STOPPED
    assert set(seen) <= {Status.RUNNING, Status.STOPPED}


def test_a_stuck_log_keeps_no_stop_waiting() -> None:  # C9
    runner, stuck, released = CommandRunner(), threading.Event(), threading.Event()
    runner.parse_args("echo up; sleep 300", "")

    def log(_: bytes) -> None:
        stuck.set()
        released.wait(20)

    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(runner.execute(ExecutionContext(log=log))))
    thread.start()
    assert stuck.wait(10)
    stopping = threading.Thread(target=runner.stop)
    stopping.start()
    stopping.join(5)
    returned = not stopping.is_alive()
    released.set()
    thread.join(10)
    assert (returned, [result.status for result in results]) == (True, [Status.STOPPED])
