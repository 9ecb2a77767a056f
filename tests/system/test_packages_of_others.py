"""What the pages for other teams say is done as they say it: their packages, beside the wheel of this one."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import uuid
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.process import tree
from tests.support.pages import ROOT, files_of, write_package

PAGES = {
    "writing-a-transport": "spool_transport",
    "writing-a-runner": "countdown_runner",
    "writing-a-config-source": "secrets_directory",
}
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
pytestmark = pytest.mark.xdist_group("packages of others")  # they are built once

# How a team's own program may look, and a mistake in it that mypy has to see.
PROGRAM = """
import bootstrap
from adapters.journal.memory import MemoryJournal

bootstrap.WorkerContainer.journal.override(MemoryJournal)
status: int = bootstrap.main(["--version"])
mistake: str = bootstrap.main(["--version"])
"""


def call(*command: str | Path, **more: object) -> str:
    """Its output; fails the test with it where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@dataclass
class Installed:
    """The wheels in a virtual environment of their own."""

    work: Path
    wheel: Path

    @property
    def bin(self) -> Path:
        return self.work / "venv" / "bin"

    def package(self, page: str) -> Path:
        return self.work / page


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    work = tmp_path_factory.mktemp("packages")
    packages = [write_package(page, work / page) for page in PAGES]
    wheels = build(work, ROOT, *packages)
    venv.create(work / "venv", with_pip=False, symlinks=True)
    home = next((work / "venv").glob("lib/python*/site-packages"))
    # What the wheels depend on is there already: nothing is to be downloaded.
    (home / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    call(*PIP, "--python", work / "venv" / "bin" / "python", "install", "--no-deps", "--no-index", *wheels)
    return Installed(work, next(wheel for wheel in wheels if wheel.name.startswith("cronjob_worker-")))


def build(work: Path, *sources: Path) -> list[Path]:
    environment = dict(os.environ)
    try:
        import hatchling  # noqa: F401
    except ImportError:
        backend = work / "backend"
        got = subprocess.run([*PIP, "install", "--target", backend, "hatchling"], capture_output=True, check=False)
        if got.returncode:
            pytest.skip("hatchling is missing, and no package index is reachable: pip install hatchling")
        environment["PYTHONPATH"] = str(backend)
    call(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", work / "dist", *sources, env=environment)
    return sorted((work / "dist").glob("*.whl"))


# -- the wheel ---------------------------------------------------------------------------------------------------------


def test_the_wheel_has_what_users_need_and_nothing_of_the_tests(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
        imported = {
            name: [node.module for node in ast.walk(ast.parse(wheel.read(name))) if isinstance(node, ast.ImportFrom)]
            for name in names
            if name.endswith(".py")
        }
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"adapters", "application", "bootstrap", "domain"}
    here = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "adapters").rglob("*.py")}
    assert {str(Path(name).parent) for name in names if name.startswith("adapters/")} == here
    assert [
        name for name in names if re.search(r"(^|/)(tests?|conftest|test_\w+|mutants|torture|demo)(/|\.|$)", name)
    ] == []
    assert {
        name for name, found in imported.items() if any((it or "").split(".")[0] == "tests" for it in found)
    } == set()
    assert {f"{top}/py.typed" for top in ("adapters", "application", "bootstrap", "domain")} <= set(names)
    assert installed.wheel.stat().st_size < 700_000


def test_the_example_stays_as_small_as_it_is_said_to_be() -> None:
    assert len(files_of("writing-a-transport")["src/spool_transport/spool.py"].splitlines()) < 120


# -- what a team does with its package ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "least"), [("writing-a-transport", 40), ("writing-a-runner", 2)])
def test_the_tests_of_the_page_pass_where_it_is_installed(installed: Installed, page: str, least: int) -> None:
    command: list[str | Path] = [
        installed.bin / "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    said = call(*command, cwd=installed.package(page), env={"PATH": os.environ["PATH"]})
    found = re.search(r"(\d+) passed", said)
    assert found is not None
    assert int(found[1]) >= least


def test_mypy_knows_the_types_of_the_wheel_and_of_bootstrap(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    packages = [word for package in PAGES.values() for word in ("-p", package)]
    command: list[str | Path] = [
        installed.bin / "python",
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--cache-dir",
        tmp_path / "cache",
    ]
    assert call(*command, *packages, cwd=tmp_path) == ""
    wrong = subprocess.run([*command, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert re.findall(r"^program\.py:(\d+): error: (.*?)  \[", wrong.stdout, re.MULTILINE) == [
        ("7", 'Incompatible types in assignment (expression has type "int", variable has type "str")')
    ]


def test_the_runner_of_the_page_is_known_by_entry_point_and_by_settings(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "config_worker.json").write_text(files_of("writing-a-runner")["config_worker.json"])
    listed = call(installed.bin / "cronjob-worker", "runners", cwd=tmp_path).split()
    assert {"countdown", "slow-countdown"} <= set(listed)
    assert '{"counted": 3}' in call(installed.bin / "cronjob-worker", "exec", "countdown", "", "3", cwd=tmp_path)


def test_the_source_of_the_page_gives_settings_and_says_where_they_are_from(
    installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "config_worker.json").write_text(files_of("writing-a-config-source")["config_worker.json"])
    (tmp_path / "secrets").mkdir()
    for name, text in {"worker.name": "w7\n", "server.auth_token": "hunter2-secret\n", "README": "no setting"}.items():
        (tmp_path / "secrets" / name).write_text(text)
    environment = {"PATH": os.environ["PATH"], "CREDENTIALS_DIRECTORY": str(tmp_path / "secrets")}
    shown = call(installed.bin / "cronjob-worker", "config", "show", cwd=tmp_path, env=environment)
    assert re.search(r"worker\.name .*'w7'.*source secrets directory", shown)
    assert re.search(r"server\.auth_token .*\*\*\*.*source secrets directory", shown)
    assert "hunter2" not in shown


# -- twenty tasks ------------------------------------------------------------------------------------------------------


class SpooledTasks:
    """What people do in the directory, by its page."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ids: list[str] = []

    def add(self, command: str) -> str:
        self.ids.append(str(uuid.uuid4()))
        path = self.directory / self.ids[-1]
        path.write_text(json.dumps({"category": "command", "command": command, "save_log": True}))
        path.rename(self.directory / "new" / path.name)
        return path.name

    def ended(self) -> dict[str, tuple[str, str]]:
        """Status and reason by task."""
        reports = {path.name: json.loads((self.directory / "reports" / path.name).read_bytes())
                   for path in (self.directory / "ended").iterdir()}  # fmt: skip
        return {task_id: (report["status"], report["end_reason"]) for task_id, report in reports.items()}


@pytest.fixture
def start(installed: Installed, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the installed program with the settings of the page, and waits until it works."""
    settings = json.loads(files_of("writing-a-transport")["config_worker.json"])
    settings["spool"]["directory"] = str(tmp_path / "spool")
    settings["worker"]["concurrency"] = 4
    (tmp_path / "config_worker.json").write_text(json.dumps(settings))
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "worker.log").open("ab") as log:
            started.append(subprocess.Popen([installed.bin / "cronjob-worker"], cwd=tmp_path, stderr=log))
        wait_for(lambda: (tmp_path / "spool" / "bad").is_dir() or started[-1].poll() is not None, "it starts")
        assert started[-1].poll() is None, (tmp_path / "worker.log").read_text()
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_for(check: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.02)


def test_twenty_tasks_run_by_the_transport_of_the_page_and_one_is_stopped(
    start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    guardian = start()
    tasks = SpooledTasks(tmp_path / "spool")
    endless = tasks.add("echo begun; sleep 600")
    others = [tasks.add(f"echo this is {number}") for number in range(19)]
    log = tmp_path / "spool" / "logs" / endless
    wait_for(lambda: log.exists() and log.read_text().startswith("begun"), "the endless task runs")
    assert b"guardian/entry.py" in Path(f"/proc/{guardian.pid}/cmdline").read_bytes()  # and not the whole program
    (tmp_path / "spool" / "stop" / endless).touch()
    wait_for(lambda: len(tasks.ended()) == 20, "all tasks have ended")
    assert tasks.ended()[endless] == ("stopped", "stopped")
    assert {tasks.ended()[task_id] for task_id in others} == {("success", "completed")}
    logs = tmp_path / "spool" / "logs"
    assert [(logs / task_id).read_text() for task_id in others] == [f"this is {number}\n" for number in range(19)]
    guardian.send_signal(signal.SIGTERM)
    assert guardian.wait(30) == 0


def test_the_transport_of_the_page_loses_nothing_when_everything_is_killed(
    start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    guardian = start()
    tasks = SpooledTasks(tmp_path / "spool")
    for number in range(20):
        tasks.add(f"echo x >> {tmp_path}/run-{number}; sleep 0.2")
    wait_for(lambda: len(tasks.ended()) >= 5, "some tasks have ended")
    kill_all(guardian)
    start()
    wait_for(lambda: len(tasks.ended()) == 20, "all tasks have ended")
    assert set(tasks.ended().values()) <= {("success", "completed"), ("error", "worker_lost")}
    assert {path.read_text() for path in tmp_path.glob("run-*")} == {"x\n"}  # none ran twice


def kill_all(guardian: subprocess.Popen[bytes]) -> None:
    """Guardian, worker and tasks, as a power cut does."""
    for process in [guardian.pid, *(it.pid for it in tree.below(guardian.pid))]:
        os.kill(process, signal.SIGKILL)
    guardian.wait()
