"""``exec`` has the rules of the worker: what a runner may raise, what is missing, what is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.observability.redact import Redactor, masked
from tests.support.peers_small import answer, http_peer

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "hunter2-secret"
RUNNERS = """
from adapters.runners.base import BaseRunner
from domain.errors import InvalidTask
from domain.result import EndReason


class Odd(BaseRunner):
    def parse_args(self, command, args):
        if command == "value":
            raise ValueError("no such thing as " + args)
        if command == "invalid":
            raise InvalidTask("say something else")
        self.command = command

    def run(self, context):
        if self.command == "exit":
            raise SystemExit(9)
        if self.command == "none":
            return None
        password = context.credentials.credential("db").value["password"]
        if self.command == "raise":
            raise RuntimeError("refused: " + password)
        for at in range(0, len(password), 5):
            context.log(password[at : at + 5].encode())
        context.log(b" was said\\n")
        return self.end(EndReason.FAILED, output="out " + password, error="err " + password)


class Unmade(BaseRunner):
    def __init__(self):
        raise ValueError("not today")
"""
Exec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def execute(tmp_path: Path) -> Iterator[Exec]:
    (tmp_path / "odd_runners.py").write_text(RUNNERS)
    plugins = {"odd": "odd_runners:Odd", "unmade": "odd_runners:Unmade", "gone": "no_such_module:X"}
    (tmp_path / "config_worker.json").write_text(json.dumps({"runners": {"plugins": plugins}}))
    (tmp_path / "state").mkdir(mode=0o700)
    credentials = {
        "db": {"category": "username_password", "value": {"username": "u", "password": SECRET}},
        "web": {"category": "api_token", "value": {"token": SECRET}},
    }
    (tmp_path / "state" / "credentials.json").write_text(json.dumps(credentials))
    (tmp_path / "state" / "credentials.json").chmod(0o600)

    def execute(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "bootstrap.py"), *words], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}, timeout=60,
        )  # fmt: skip

    return execute


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("value", "ValueError: no such thing as x"),
        ("invalid", "say something else"),
        ("exit", "SystemExit: 9"),
        ("none", "TypeError: run returned NoneType: it must return what self.end(...) makes"),
        ("raise", "RuntimeError: refused: ***"),
    ],
)
def test_whatever_a_runner_raises_ends_its_task_with_the_reason(execute: Exec, command: str, reason: str) -> None:
    done = execute("exec", "--json", "odd", command, "x")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == reason
    bare = [line for line in done.stderr.splitlines() if line.startswith(("Traceback", "ValueError"))]
    assert bare == []  # what is there for the author of the runner is a line of the log with its parts indented
    assert SECRET not in done.stderr


@pytest.mark.parametrize(
    ("category", "reason"),
    [("gone", "No module named 'no_such_module'"), ("unmade", "ValueError: not today"), ("telepathy", "known: ")],
)
def test_why_a_runner_is_not_there_is_told(execute: Exec, category: str, reason: str) -> None:
    done = execute("exec", category, "x")
    assert done.returncode == 1
    assert reason in done.stderr
    assert f"no runner is registered for category '{category}'" in done.stderr


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_credential_that_is_echoed_is_shown_nowhere(execute: Exec, level: str) -> None:
    done = execute("--set", f"log.level={level}", "exec", "odd", "say", "x")
    assert done.stdout == "*** was said\nout ***\n"
    assert "err ***" in done.stderr
    assert SECRET not in done.stderr


def test_a_peer_that_repeats_a_credential_does_not_show_it(execute: Exec) -> None:
    with http_peer(lambda request, body: answer(request, 200, str(request.headers).encode())) as peer:
        args = {"url": f"http://127.0.0.1:{peer.port}/", "credential_id": "web"}
        done = execute("exec", "http", json.dumps(args))
    assert done.returncode == 0
    assert "Authorization: ***" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_what_is_held_back_comes_at_the_end() -> None:
    redactor, seen = Redactor(), []
    redactor.add(SECRET)
    with masked(redactor, seen.append) as write:
        write(SECRET[:8].encode())
    assert b"".join(seen) == SECRET[:8].encode()
