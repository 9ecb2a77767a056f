"""Names, commands, outputs and files that want to be more than data, before the real program (G81, G84)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.testkit.apiserver import SimulatedServer
from tests.support.program import ROOT, Program, Start
from tests.support.terminal import open_terminal

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

EVIL = 'a\rb\x1b]52;c;aGk=\x07\x1b[2J\x9b1A\u202e\u2028\u0085{"level":"INFO"}\nforged'
OVER = ("success", "failed", "error")


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer() as made:
        yield made


class OnTerminal(Program):
    """Its standard error is a terminal; what comes out there is in ``log``."""

    def start(self) -> None:
        ours, theirs = open_terminal()
        plain = dict(self.environment, TERM="xterm")
        self.process = subprocess.Popen(self.command_line, cwd=self.directory, env=plain, stderr=theirs)
        os.close(theirs)
        self.log.touch()
        self.reader = threading.Thread(target=self._read, args=(ours,))
        self.reader.start()
        self.wait_connected()

    def _read(self, terminal: int) -> None:
        with open(self.log, "wb", buffering=0) as log, contextlib.suppress(OSError):
            while data := os.read(terminal, 65536):
                log.write(data)
        os.close(terminal)

    def end(self) -> int:
        status = super().end()
        self.reader.join(5)
        return status


def offer_evil(server: SimulatedServer) -> list[str]:
    """Hostile names, commands, outputs, directories and arguments; each task ends somehow."""
    tasks = [
        server.add_task(name=EVIL, command=f"printf '%s' '{EVIL}'; printf '%s' '{EVIL}' >&2; exit 3"),
        server.add_task(name=EVIL, command="true", metadata={"working_dir": "/proc/" + EVIL}),
        server.add_task(name=EVIL, category="http", args=json.dumps({"url": "http://" + EVIL})),
        server.add_task(name=EVIL, category="script", args="{" + EVIL),
    ]
    server.offer(*tasks)
    for task in tasks:
        server.wait_for(task, *OVER)
    return tasks


def test_off_a_terminal_each_line_is_one_json_document(server: SimulatedServer, tmp_path: Path) -> None:  # G81
    with Program(server, tmp_path, log={"level": "DEBUG"}) as program:
        tasks = offer_evil(server)
        program.end()
    data = program.log.read_bytes()
    assert data.isascii()
    assert set(data) & {*range(32), 127} == {10}
    lines = [json.loads(line) for line in data.decode().splitlines()]
    assert sum(line["message"].startswith("ended: ") for line in lines) == len(tasks)
    assert EVIL in {line.get("task_name") for line in lines}


def test_on_a_terminal_nothing_of_a_task_acts(server: SimulatedServer, tmp_path: Path) -> None:  # G81
    with OnTerminal(server, tmp_path, log={"level": "DEBUG"}) as program:
        tasks = offer_evil(server)
        program.end()
    text = program.log.read_bytes().decode()
    shown = re.sub("\x1b" + r"\[(2|33|31|1;31|0)m", "", text)  # the log's own colours
    acting = "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u202e]|\r(?!\n)|(?<!\r)\n"
    assert not re.findall(acting, shown)
    stamped = [line for line in shown.split("\r\n") if line and not line.startswith("    ")]
    assert [line for line in stamped if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]", line)] == []
    assert sum("] ended: " in line for line in stamped) == len(tasks)
    assert r"\u001b]52;c;aGk=" in shown


def plant(directory: Path, canary: Path, *modules: str) -> None:
    """Modules that tell when they are imported, and end the program."""
    directory.mkdir(parents=True, exist_ok=True)
    for module in ("json", "sitecustomize", "usercustomize", "contextlib", "logging", "uuid", *modules):
        text = f"open({str(canary)!r}, 'a').write(__file__)\nraise SystemExit(9)\n"
        (directory / f"{module}.py").write_text(text)


def test_no_module_of_the_current_or_a_task_s_directory_is_imported(
    server: SimulatedServer, tmp_path: Path
) -> None:  # G84
    canary, home = tmp_path / "canary", tmp_path / "home"
    for directory in (tmp_path, home, tmp_path / "tasks" / "t"):
        plant(directory, canary, "adapters", "click")
    with Program(server, tmp_path, Start(environment={"HOME": str(home)})) as program:
        command = {"command": "echo done", "metadata": {"working_dir": str(tmp_path / "tasks" / "t")}}
        tasks = [server.add_task(**command), server.add_task(category="git", args='{"url": "https://127.0.0.1:1/x"}')]
        server.offer(*tasks)
        for task in tasks:
            server.wait_for(task, *OVER)
        program.crash_worker()
        assert program.end() == 0
    assert not canary.exists()


def test_nothing_beside_the_program_stands_in_for_the_standard_library(tmp_path: Path) -> None:
    """G84: as ``make run`` starts it, in the program's own directory."""
    canary, copy = tmp_path / "canary", tmp_path / "copy"
    plant(copy, canary)
    for name in ("adapters", "application", "domain"):
        (copy / name).symlink_to(ROOT / name)
    (copy / "bootstrap.py").write_bytes((ROOT / "bootstrap.py").read_bytes())
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "bootstrap.py", "exec", "command", "echo", "up"],
        cwd=copy, env=plain, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("up\n", 0), done.stderr
    assert not canary.exists()
