"""Which commands the guard lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.runners.command import CommandRunner
from adapters.runners.guard import CommandGuard
from domain.errors import InvalidTask
from domain.result import EndReason
from domain.runner import ExecutionContext


@pytest.mark.parametrize("command", ["rm -rf /", "sudo ls", "dd if=/dev/zero", "/sbin/shutdown -h now", "/root/x"])
def test_blocked_words_are_refused(command: str) -> None:
    with pytest.raises(InvalidTask, match="COMMAND_BLOCKED"):
        CommandGuard().check(command)


@pytest.mark.parametrize("command", ["/bin/ls", "/data/binaries/x", "cat /root/x", "echo " + "x" * 2000, "ls > f"])
def test_ordinary_commands_pass(command: str) -> None:  # C13
    CommandGuard().check(command)


@pytest.mark.parametrize(
    "command",
    ["echo x; rm y", "echo $(rm y)", "echo `rm y`", "echo 'x'", "A=1 echo", "echo x\nrm y", "echo a|sh", "ls"],
)
def test_with_an_allow_list_only_plain_commands_pass(command: str) -> None:  # G78
    guard = CommandGuard.from_environment({"COMMAND_ALLOWED": "echo, env"})
    guard.check("echo plain words -x --y=z")
    with pytest.raises(InvalidTask, match="COMMAND_ALLOWED"):
        guard.check(command)
    with pytest.raises(InvalidTask, match="COMMAND_ALLOWED"):
        guard.check("env rm x")


@pytest.mark.parametrize("program", ["env", "/usr/bin/python3.11", "busybox", "nsenter", "flock", "."])
def test_a_program_that_runs_others_cannot_be_allowed(program: str) -> None:  # G78
    with pytest.raises(InvalidTask, match="runs other commands"):
        CommandGuard.from_environment({"COMMAND_ALLOWED": program}).check(f"{program} x")


@pytest.mark.parametrize(
    "name", ["BASH_ENV", "BASH_FUNC_ls%%", "PATH", "LD_PRELOAD", "SHELLOPTS", "PS4", "PYTHONSTARTUP", "GIT_SSH_COMMAND", "PAGER"]
)  # fmt: skip
def test_with_an_allow_list_no_variable_runs_another_command(name: str, tmp_path: Path) -> None:  # G78
    trap = tmp_path / "trap"
    value = f"() {{ touch {trap}; }}" if name.startswith("BASH_FUNC") else f"$(touch {trap})"
    runner = CommandRunner(guard=CommandGuard(allowed=("ls",)))
    runner.parse_args("ls /", "")
    result = runner.execute(ExecutionContext(environment={name: value}))
    assert (result.end_reason, trap.exists()) == (EndReason.INVALID_TASK, False)
    assert name in result.error


def test_other_variables_reach_an_allowed_command() -> None:
    runner = CommandRunner(guard=CommandGuard(allowed=("printenv",)))
    runner.parse_args("printenv WHO", "")
    assert runner.execute(ExecutionContext(environment={"WHO": "Ada"})).output == "Ada\n"


def test_the_guard_reads_its_settings(caplog: pytest.LogCaptureFixture) -> None:
    CommandGuard.from_environment({"COMMAND_SECURITY_DISABLED": "true"}).check("rm x")
    guard = CommandGuard.from_environment({"COMMAND_BLOCKED": "foo", "COMMAND_BLOCKED_PATTERNS": "ba+r, [broken"})
    guard.check("rm x")
    for command in ("foo", "echo baaar"):
        with pytest.raises(InvalidTask):
            guard.check(command)
