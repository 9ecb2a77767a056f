"""`make demo` as an operator sees it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import demo, demo_tasks, peers
from tests.support.demo_view import Ended, View, cut, wrapped
from tests.support.terminal import open_terminal

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, "-m", "tests.support.demo"]


def leftovers(told: str) -> list[str]:
    """What is left of the demo that told where it works: its directory, and processes that name it."""
    found = re.search(r"/tmp/cronjob-demo-\w+", told)
    assert found is not None, told
    left = [found[0]] if Path(found[0]).exists() else []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if found[0].encode() in path.read_bytes():
                left.append(str(path))
        except OSError:
            continue
    return left


@pytest.mark.xdist_group("demo")
@pytest.mark.peer("mariadb")
def test_the_demo_shows_one_task_of_each_category_and_leaves_nothing() -> None:
    done = subprocess.run(PROGRAM, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^ ?\d+ (\w+) +\w+ +as expected$", done.stdout, re.MULTILINE) == list(demo.CATEGORIES)
    rows = re.findall(r"^(\w+) +(\w+) +yes +(real|fake)$", done.stdout, re.MULTILINE)
    assert [row[:2] for row in rows] == [(it, "failed" if it == "default" else "success") for it in demo.CATEGORIES]
    assert "\033" not in done.stdout
    assert leftovers(done.stdout) == []
    if "SQLite (no" in done.stdout:
        pytest.skip("the demo had no database server: `make peers` (mariadb-server) shows it with one")


@pytest.mark.xdist_group("demo")
def test_a_task_that_ends_otherwise_makes_the_demo_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = demo_tasks.Peers.command
    monkeypatch.setattr(demo_tasks.Peers, "command", lambda peers: replace(plain(peers), status="failed"))
    out = io.StringIO()
    assert demo.run(View(out), ["command"]) == 1
    assert "not as expected: it should be failed, but is success" in out.getvalue()
    assert "0 of 1 tasks" in out.getvalue()


@pytest.mark.xdist_group("demo")
def test_without_any_database_server_the_demo_takes_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_is_there(name: str, peer: str) -> str:
        raise peers.Missing(peer)

    monkeypatch.setattr(peers, "program", none_is_there)
    out = io.StringIO()
    assert demo.run(View(out), ["database"]) == 0, out.getvalue()
    assert "real: SQLite" in out.getvalue()


@pytest.mark.xdist_group("demo")
def test_a_worker_that_cannot_start_is_told_with_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bootstrap.py").write_text("raise SystemExit('no luck today')")
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    out = io.StringIO()
    assert demo.run(View(out), ["command"]) == 1
    assert "no luck today" in out.getvalue()


@pytest.mark.xdist_group("demo")
def test_a_demo_that_is_ended_leaves_nothing() -> None:
    process = subprocess.Popen([*PROGRAM, "--only", "command"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert leftovers(told) == []


@pytest.mark.parametrize(
    ("output", "log", "problem"),
    [('{"to": "Ada", "exit_code": 0}', "3.11", ""), ("{", "3.11", "not JSON"), ('{"to": "Eve"}', "3.11", "to 'Ada'"),
     ('{"to": "Ada", "exit_code": 0}', "", "log")],
)  # fmt: skip
def test_a_sample_judges_its_output_and_its_log(output: str, log: str, problem: str) -> None:
    sample = demo_tasks.Sample("script", str, holds={"to": "Ada"}, logs="3.")
    found = sample.problem("success", output, log)
    assert (problem in found) if problem else found == ""


def test_rows_are_aligned_also_with_wide_signs_and_steer_no_terminal() -> None:
    out = io.StringIO()
    View(out).task(1, Ended({"category": "x", "command": "x", "args": "a\033[2J", "metadata": None}, "failed",
                            "{}", "one\ntwo", "real: y", ""))  # fmt: skip
    lines = out.getvalue().splitlines()[2:]
    assert {line[:11].strip() for line in lines} == {"task", "log", "", "output", "peer"}
    assert "\033" not in out.getvalue()
    assert list(wrapped("审批已创建", 4)) == ["审批", "已创", "建"]
    assert cut("abcdefgh", 6) == "abc..."


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, other = open_terminal()
    with os.fdopen(terminal, "rb"), os.fdopen(other, "w") as out:
        assert View(out).paint("x", "red") == "\033[31mx\033[0m"
        monkeypatch.setenv("NO_COLOR", "1")
        assert View(out).paint("x", "red") == "x"
    assert View(io.StringIO()).paint("x", "red") == "x"
