"""The program as a person starts it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import bootstrap
from adapters.cli.examples import EXAMPLES
from tests.support import trees
from tests.support.program import wait_until

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, str(ROOT / "bootstrap.py")]


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def run(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def lines_until(process: subprocess.Popen[str], text: str) -> str:
    """What it says from here on, up to ``text``."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def the_rest(process: subprocess.Popen[str]) -> str:
    """What it says until it ends. After ``readline``, ``communicate`` would not tell what that had read ahead."""
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read()
    process.wait(20)
    return said


def test_exec_runs_one_task_with_its_exit_code(tmp_path: Path) -> None:
    done = run("exec", "command", "echo", '["Hello, World!"]', cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Hello, World!\n")
    assert run("exec", "command", "exit 7", cwd=tmp_path).returncode == 7
    late = run("exec", "--timeout", "0.2", "--json", "command", "sleep 60", cwd=tmp_path)
    assert json.loads(late.stdout)["status"] == "timeout"
    shown = run("exec", "--env", "A=b", "--dir", str(tmp_path), "command", "echo $A; pwd", "-x", cwd=tmp_path)
    assert shown.stdout.splitlines()[0] == "b"
    assert run("exec", "telepathy", "x", cwd=tmp_path).returncode == 1


def test_exec_shows_output_that_the_live_log_does_not_hold_and_no_output_twice(tmp_path: Path) -> None:
    done = run("--set", f'runners.file_roots={tmp_path}', "exec", "file",
               json.dumps({"action": "stat", "path": str(tmp_path)}), cwd=tmp_path)  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["action"] == "stat"
    inline = {"language": "sh", "type": "inline", "code": "echo once"}
    assert run("exec", "script", json.dumps(inline), cwd=tmp_path).stdout == "once\n"


def test_ctrl_c_stops_what_exec_runs(tmp_path: Path) -> None:
    process = subprocess.Popen([*PROGRAM, "exec", "command", "echo up; sleep 300"], cwd=tmp_path, env=environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert "stopped" in errors
    assert process.returncode != 0


def test_several_arguments_of_exec_stay_words(tmp_path: Path) -> None:
    done = run("exec", "command", "printf %s,", "a  b", "$HOME", "-n", "it's", cwd=tmp_path)
    assert done.stdout == "a  b,$HOME,-n,it's,"
    assert run("exec", "command", "echo", "one | tr o 0", cwd=tmp_path).stdout == "0ne\n"


def test_a_reader_that_goes_away_ends_exec(tmp_path: Path) -> None:
    process = subprocess.Popen([*PROGRAM, "exec", "command", "yes"], cwd=tmp_path, env=environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "y\n"
    process.stdout.close()
    assert process.wait(15) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_second_ctrl_c_kills_what_exec_runs(tmp_path: Path) -> None:
    stubborn = "trap '' INT TERM; echo up; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        [*PROGRAM, "--set", "execution.grace=600", "exec", "command", stubborn],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    deadline = time.monotonic() + 15
    while process.poll() is None:  # two signals may arrive as one: it takes as many as it takes
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
    process.communicate()
    assert process.returncode != 0


def test_run_has_short_forms_for_name_and_level(tmp_path: Path) -> None:
    done = run("run", "--log-level", "loud", "--name", "n" * 99, cwd=tmp_path)
    assert done.returncode == 78
    assert {"command line: log.level", "command line: worker.name"} <= {
        ": ".join(line.split(": ")[:2]) for line in done.stderr.splitlines()
    }


def test_help_version_runners_and_completion(tmp_path: Path) -> None:
    assert "Examples:" in run("--help", cwd=tmp_path).stdout
    assert re.search(r"\d+\.\d+\.\d+", run("--version", cwd=tmp_path).stdout)
    assert {"command", "default"} <= set(run("runners", cwd=tmp_path).stdout.split())
    assert "cronjob-worker" in run("completion", "bash", cwd=tmp_path).stdout
    assert run("no-such-command", cwd=tmp_path).returncode == 2


COMMANDS = ["", "run", "exec", "runners", "pause", "resume", "config show", "config check", "completion"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert re.search(
        r"^ +python bootstrap\.py" if command != "completion" else r"eval \"\$\(cronjob-worker", text, re.M
    )


def test_the_examples_of_exec_that_need_no_network_run(tmp_path: Path) -> None:
    examples = [shlex.split(line) for line in EXAMPLES["exec"] if "://" not in line and "sleep" not in line]
    assert [run(*words, cwd=tmp_path).returncode for words in examples] == [0, 0]


def test_a_check_of_the_settings_checks_the_schedule_too(tmp_path: Path) -> None:
    (tmp_path / "config_worker.json").write_text("{}")
    jobs = [{"name": "a", "time": "0 3 * * *", "command": "x"}]
    (tmp_path / "schedule.json").write_text(json.dumps({"jobs": jobs}))
    assert run("config", "check", cwd=tmp_path).returncode == 0
    jobs += [{"name": "b", "time": "0 3 * * *", "category": "comand"}, {"name": "c", "time": "soon", "command": "x"}]
    (tmp_path / "schedule.json").write_text(json.dumps({"jobs": jobs}))
    done = run("config", "check", cwd=tmp_path)
    assert done.returncode == 78
    assert "job 'b': category 'comand'" in done.stderr
    assert "job 'c': time 'soon'" in done.stderr
    joined = run("config", "check", cwd=tmp_path, API_SERVER_URL="https://x", API_AUTH_TOKEN="t0ken-value")
    assert joined.returncode == 0  # then nobody reads the schedule


def test_settings_are_shown_with_their_sources_and_without_secrets(tmp_path: Path) -> None:
    shown = run("config", "show", "--json", cwd=tmp_path, API_SERVER_URL="https://x", API_AUTH_TOKEN="t0ken-value")
    document = json.loads(shown.stdout)
    assert document["server.api_url"]["source"] == "environment API_SERVER_URL"
    assert "t0ken-value" not in shown.stdout
    assert "worker.name" in run("config", "show", cwd=tmp_path).stdout
    assert run("config", "check", cwd=tmp_path).returncode == 0


def test_a_configuration_error_ends_with_78_also_behind_the_guardian(tmp_path: Path) -> None:
    for arguments in (("config", "check"), ("run",), ()):
        done = run("--set", "worker.nmae=x", *arguments, cwd=tmp_path)
        assert done.returncode == 78
        assert "did you mean worker.name" in done.stderr


def seen_task(lines: list[dict[str, str]]) -> str:
    """The first task whose output was printed."""
    return next(line["task"] for line in lines if "tock-23" in line["message"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_worker_runs_its_schedule_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    (tmp_path / "schedule.json").write_text(
        json.dumps({"jobs": [{"name": "tick", "time": "* * * * * *", "command": "echo tock-$((20+3))"}]})
    )
    (tmp_path / "config_worker.json").write_text("{}")
    process = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen: list[dict[str, str]] = []
    deadline = time.monotonic() + 20
    while not any("tock-23" in line["message"] for line in seen):
        assert time.monotonic() < deadline
        seen.append(json.loads(process.stderr.readline()))
    process.send_signal(signal.SIGUSR2)  # means nothing, and so does nothing
    process.send_signal(number)
    seen += [json.loads(line) for line in the_rest(process).splitlines()]
    assert process.returncode == 0
    assert seen[-1]["message"] == "ended"
    assert [line["message"].split(":")[0] for line in seen if line.get("task") == seen_task(seen)] == [
        "started",
        "| tock-23",
        "ended",
    ]
    assert {oct(path.stat().st_mode & 0o077) for path in (tmp_path / "state").rglob("*")} == {"0o0"}  # G66


def test_a_worker_whose_log_nobody_reads_goes_on_and_ends(tmp_path: Path) -> None:
    """Ctrl-S on its terminal, a log collector that is stuck: the pipe is full from the start."""
    job = {"name": "tick", "time": "* * * * * *", "command": f"echo run >>{tmp_path}/runs"}
    (tmp_path / "schedule.json").write_text(json.dumps({"jobs": [job]}))
    (tmp_path / "config_worker.json").write_text("{}")
    source, sink = os.pipe()
    try:
        os.write(sink, b"x" * fcntl.fcntl(sink, fcntl.F_GETPIPE_SZ))
        process = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=sink)
        runs = tmp_path / "runs"
        wait_until(lambda: runs.exists() and len(runs.read_text().splitlines()) >= 3, "tasks run")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(source)
        os.close(sink)


def test_a_hangup_that_was_ignored_before_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "config_worker.json").write_text("{}")
    (tmp_path / "schedule.json").write_text('{"jobs": []}')
    process = subprocess.Popen(
        ["nohup", *PROGRAM], cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for _ in range(2):  # the second time it has read the file again, after the hangup
        while "0 jobs are scheduled" not in (line := process.stderr.readline()):
            assert line, "it ended"
        process.send_signal(signal.SIGHUP)
        (tmp_path / "schedule.json").write_text('{"jobs": [ ]}')
    process.send_signal(signal.SIGTERM)
    assert "ended" in the_rest(process)
    assert process.returncode == 0


def test_a_server_that_never_answers_does_not_hold_the_end(tmp_path: Path) -> None:
    (tmp_path / "config_worker.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as hole:
        url = f"http://127.0.0.1:{hole.getsockname()[1]}"
        process = subprocess.Popen(
            PROGRAM, cwd=tmp_path, env=environment(API_SERVER_URL=url, API_AUTH_TOKEN="t0ken-value"),
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        peer, _ = hole.accept()
        with peer:
            peer.settimeout(20)
            assert peer.recv(1)  # its first request waits for an answer
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=20)[1]
    assert (process.returncode, "did not end" in errors) == (0, False), errors


def test_two_workers_do_not_share_a_state_directory(tmp_path: Path) -> None:  # G87
    (tmp_path / "config_worker.json").write_text("{}")
    (tmp_path / "schedule.json").write_text('{"jobs": []}')
    first = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    while "connected" not in first.stderr.readline():
        pass
    second = run(cwd=tmp_path)
    assert second.returncode == 78
    assert "another worker" in second.stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)
    assert first.returncode == 0


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[int]:
    """The pid of a worker that has a task running, and whose guardian has just been killed."""
    mark = str(uuid.uuid4().int)[:12]
    job = {
        "name": "long",
        "time": "* * * * * *",
        "command": f"trap '' TERM; echo up; while :; do sleep 1000.{mark}; done",
    }
    (tmp_path / "schedule.json").write_text(json.dumps({"jobs": [job]}))
    (tmp_path / "config_worker.json").write_text('{"execution": {"drain": 1, "grace": 1}}')
    former = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    lines_until(former, "| up")
    worker = int(Path(f"/proc/{former.pid}/task/{former.pid}/children").read_text().split()[0])
    (tmp_path / "schedule.json").write_text('{"jobs": []}')
    former.kill()
    former.wait()
    yield worker
    assert former.stderr is not None
    former.stderr.read()  # its worker has ended, and its tasks with it
    former.stderr.close()
    assert trees.alive(mark) == []


def test_after_the_guardian_alone_was_killed_a_new_start_waits_for_the_old_worker(tmp_path: Path, orphan: int) -> None:
    new = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    said = lines_until(new, "connected")
    assert f"for the former worker (pid {orphan}): its guardian is gone and it ends its tasks" in said
    assert said.count("the former worker") == 1
    new.send_signal(signal.SIGTERM)
    new.communicate(timeout=20)
    assert new.returncode == 0


def test_who_waits_for_the_old_worker_can_be_ended(tmp_path: Path, orphan: int) -> None:
    os.kill(orphan, signal.SIGSTOP)
    try:
        new = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
        lines_until(new, "the former worker")
        new.send_signal(signal.SIGTERM)
        new.communicate(timeout=20)
        assert new.returncode == 0
    finally:
        os.kill(orphan, signal.SIGCONT)


@pytest.mark.parametrize("name", ["lock", "identity.json", "."])
def test_a_state_directory_that_cannot_be_used_is_told_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "config_worker.json").write_text("{}")
    state = tmp_path / "state"
    if name == ".":
        state.touch()
    else:
        (state / name).mkdir(parents=True, mode=0o700)
    done = run(cwd=tmp_path)
    assert (done.returncode, done.stderr.count("configuration error"), "Traceback" in done.stderr) == (78, 1, False)
    assert str(state if name == "." else state / name) in done.stderr


@pytest.mark.parametrize("variable", ["API_AUTH_TOKEN", "API_KEY"])
def test_the_api_key_stands_in_no_environment_of_the_worker(tmp_path: Path, variable: str) -> None:  # G67
    (tmp_path / "config_worker.json").write_text("{}")
    known = {variable: "t0ken-value", "CRONJOB_CREDENTIAL_MY_DB": "t0ken-value too"}
    with socket.create_server(("127.0.0.1", 0)) as hole:
        url = f"http://127.0.0.1:{hole.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-I", PROGRAM[1]], cwd=tmp_path, env=environment(API_SERVER_URL=url, **known),
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        peer, _ = hole.accept()
        with peer:
            assert b"t0ken-value" in peer.recv(65536)  # it has it, and uses it
            worker = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
            try:
                found = Path(f"/proc/{worker}/environ").read_bytes()
            except PermissionError:  # as for every task of the same user
                found = b""
            flags = Path(f"/proc/{worker}/cmdline").read_text().split("\0")[1]
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    assert b"t0ken-value" not in found
    assert flags == "-I"  # whom the interpreter trusts is the same for both


def test_a_killed_worker_is_started_again_and_its_task_gets_an_end(tmp_path: Path) -> None:  # G5
    mark = str(uuid.uuid4().int)[:12]
    (tmp_path / "config_worker.json").write_text("{}")
    (tmp_path / "schedule.json").write_text(
        json.dumps({"jobs": [{"name": "long", "time": "* * * * * *", "command": f"echo up; exec sleep 1000.{mark}"}]})
    )
    process = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    killed, lines = False, []
    for line in process.stderr:
        lines.append(line)
        if '"| up"' in line and not killed:
            child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
            os.kill(int(child), signal.SIGKILL)
            killed = True
        if "recovered from the previous run: error" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    lines += the_rest(process).splitlines()
    assert any("SIGKILL; its tasks are ended" in line for line in lines)
    assert trees.alive(mark) == []


HANGING = """
import pathlib, threading
from application import loops, recovery
from adapters.runners.command import CommandRunner as Runner

flag = pathlib.Path("hung-once")
if not flag.exists():
    loops.HANG = 2.0

    def hang(self, *_):
        flag.touch()
        threading.Event().wait()

    recovery.Recovery._compare = hang
"""


def test_a_loop_that_hangs_is_told_with_its_stack_and_the_worker_starts_anew(tmp_path: Path) -> None:  # G62
    """The defect comes in with a plug-in, so that nothing in the program waits for a test to switch it on."""
    (tmp_path / "hanging.py").write_text(HANGING)
    (tmp_path / "config_worker.json").write_text('{"runners": {"plugins": {"other": "hanging:Runner"}}}')
    (tmp_path / "schedule.json").write_text(
        json.dumps({"jobs": [{"name": "tick", "time": "* * * * * *", "command": "echo tock"}]})
    )
    known = environment(PYTHONPATH=f"{ROOT}:{tmp_path}")
    process = subprocess.Popen(PROGRAM, cwd=tmp_path, env=known, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(json.loads(line))
        if sum("connected as" in line["message"] for line in lines) == 2:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    fatal = next(line["message"] for line in lines if line["level"] == "FATAL")
    assert "threads blocked: recovery; restarting" in fatal
    assert "threading.Event().wait()" in fatal
    assert any("the worker ended with exit status 70" in line["message"] for line in lines)
    assert process.returncode == 0


def test_usr1_tells_what_each_thread_does_and_a_hangup_ends(tmp_path: Path) -> None:
    (tmp_path / "config_worker.json").write_text("{}")
    (tmp_path / "schedule.json").write_text('{"jobs": []}')
    process = subprocess.Popen(PROGRAM, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "connected" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGUSR1)
    while "thread heartbeat:" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGHUP)
    assert json.loads(the_rest(process).splitlines()[-1])["message"] == "ended"
    assert process.returncode == 0
