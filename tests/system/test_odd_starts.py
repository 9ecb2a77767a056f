"""The program where it was started in an odd way: closed descriptors, another locale, at a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.program import wait_until

ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, str(ROOT / "bootstrap.py")]
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


# -- packages of others --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["domain", "application", "adapters"])
@pytest.mark.parametrize("start", [PROGRAM, [sys.executable, "-c", "import bootstrap"]], ids=["run", "imported"])
def test_a_package_of_others_in_the_place_of_ours_is_refused_with_its_path(
    tmp_path: Path, start: list[str], name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    known = BARE | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(start, env=known, cwd="/", capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert done.stderr.startswith(f"{tmp_path / name / '__init__.py'} stands in the place of {ROOT / name}: ")


def test_a_module_or_a_bare_directory_of_that_name_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "domain").mkdir()
    known = BARE | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [*PROGRAM, "--version"], env=known, cwd=tmp_path, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0


# -- closed descriptors --------------------------------------------------------------------------------------------

CLOSED = ["2>&-", ">&-", "<&-", ">&- 2>&-", "<&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("closed", CLOSED)
def test_exec_works_with_closed_standard_descriptors(tmp_path: Path, closed: str) -> None:
    task = f"echo out; echo err >&2; ls -l /proc/self/fd | wc -l >{tmp_path}/count; exit 7"
    line = f"{shlex.join([*PROGRAM, 'exec', 'command', task])} {closed}"
    done = subprocess.run(["bash", "-c", line], env=BARE, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert done.returncode == 7
    assert (tmp_path / "count").read_text() == "5\n"  # total, 0, 1, 2 and ls's own directory
    assert done.stdout == (b"" if ">&-" in closed.replace("2>&-", "") else b"out\nerr\n")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_the_worker_works_with_closed_standard_descriptors(tmp_path: Path, closed: str) -> None:
    """What it opens must not become its standard error, into which others write."""
    (tmp_path / "config_worker.json").write_text('{"log": {"file": "log"}}')
    jobs = [{"name": "tick", "time": "* * * * * *", "command": f"echo tock >>{tmp_path}/ran"}]
    (tmp_path / "schedule.json").write_text(json.dumps({"jobs": jobs}))
    process = subprocess.Popen(["bash", "-c", f"exec {shlex.join(PROGRAM)} {closed}"], env=BARE, cwd=tmp_path)
    try:
        wait_until((tmp_path / "ran").exists, "nothing ran")
        (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in (str(process.pid), worker):
            for part in closed.split():
                number = {"<": 0, ">": 1, "2": 2}[part[0]]
                assert os.readlink(f"/proc/{pid}/fd/{number}") == "/dev/null"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert json.loads(last)["message"] == "ended"


# -- locales -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Variables for each locale that is to be had here."""
    found = {"C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}}
    place = tmp_path_factory.mktemp("locales")
    for name, charset in (("de_DE", "ISO-8859-1"), ("zh_CN", "GBK")):
        if shutil.which("localedef"):
            made = subprocess.run(
                ["localedef", "-i", name, "-f", charset, str(place / f"{name}.{charset}")],
                capture_output=True,
                check=False,
            )
            if made.returncode <= 1:
                found[name] = {"LC_ALL": f"{name}.{charset}", "LOCPATH": str(place), "PYTHONUTF8": "0"}
    return found


@pytest.fixture(params=["C", "de_DE", "zh_CN"])
def locale(request: pytest.FixtureRequest, locales: dict[str, dict[str, str]]) -> dict[str, str]:
    if request.param not in locales:
        pytest.skip(f"the locale {request.param} cannot be made here: package locales")
    return locales[request.param]


TEXT = "grün 任务 €"
AS_A_LIBRARY = """
import os, sys
sys.path.insert(0, sys.argv[1])
from adapters.runners.command import CommandRunner
from domain.runner import ExecutionContext
assert sys.getfilesystemencoding() != "utf-8"
text = "gr\\u00fcn \\u4efb\\u52a1 \\u20ac"
runner = CommandRunner()
runner.parse_args("echo $LANGUAGE_OF_TASK; echo $INHERITED; echo " + text, "")
os.write(1, runner.execute(ExecutionContext(environment={"LANGUAGE_OF_TASK": text})).output.encode())
"""


def test_a_task_gets_and_gives_its_text_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    where = tmp_path / "任务"
    command = 'printf "%s\\n" "$1" "$INHERITED" "$ADDED"; pwd; ls'
    words = ["exec", "--dir", str(where), "--env", f"ADDED={TEXT}", "command", "bash", "-c", command, "x", TEXT]
    known = BARE | locale | {"INHERITED": TEXT}
    done = subprocess.run([*PROGRAM, *words], env=known, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.decode().splitlines()) == (0, [TEXT, TEXT, TEXT, str(where)])


def test_a_library_s_task_gets_and_gives_its_text_in_any_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    known = BARE | locale | {"INHERITED": TEXT}
    argv = [sys.executable, "-c", AS_A_LIBRARY, str(ROOT)]
    done = subprocess.run(argv, env=known, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert (done.stdout.decode().splitlines(), done.stderr) == ([TEXT] * 3, b"")


def test_bytes_that_are_no_text_reach_the_task_as_they_are(tmp_path: Path, locale: dict[str, str]) -> None:
    known = {name.encode(): value.encode() for name, value in (BARE | locale).items()} | {b"RAW": b"gr\xfcn"}
    argv = [*PROGRAM, "exec", "command", 'printf %s "$RAW" | od -An -tx1']
    done = subprocess.run(argv, env=known, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert done.stdout.split() == [b"67", b"72", b"fc", b"6e"]


def test_a_python_that_was_told_its_encoding_is_not_started_for_ever(tmp_path: Path) -> None:
    known = BARE | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    argv = [sys.executable, "-X", "utf8=0", str(ROOT / "bootstrap.py"), "exec", "command", f"echo {TEXT}"]
    done = subprocess.run(argv, env=known, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, f"{TEXT}\n")


# -- a terminal ----------------------------------------------------------------------------------------------------


class Terminal:
    """A process whose controlling terminal this is. ``seen`` is what it has shown."""

    def __init__(self, argv: list[str], cwd: Path) -> None:
        self._screen, inside = pty.openpty()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *argv],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=cwd,
            env=BARE | {"TERM": "dumb"},
        )
        os.close(inside)
        self.seen = b""

    def read(self, until: Callable[[], bool], seconds: float = 20.0) -> None:
        """Collect what is shown until a condition holds or the terminal is closed by its last process."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, self.seen
            if select.select([self._screen], [], [], 0.02)[0]:
                try:
                    self.seen += os.read(self._screen, 65_536)
                except OSError:  # nobody has it open any more
                    return

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def forbid_the_background_to_write(self) -> None:
        subprocess.run(["stty", "tostop"], stdin=self._screen, check=True)

    def status(self) -> int:
        """The exit status, after the terminal was read to its end."""
        self.read(lambda: False)
        return self._process.wait(20)

    def close(self) -> None:
        os.close(self._screen)
        self._process.kill()
        self._process.wait()


@pytest.fixture
def at_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def start(*argv: str) -> Terminal:
        made.append(Terminal([*PROGRAM, *argv], tmp_path))
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


@pytest.mark.parametrize(
    "command", ["read x </dev/tty", "bash -i -c 'read x </dev/tty'", "echo secret >/dev/tty", "stty -a </dev/tty"]
)
def test_a_task_has_no_terminal(at_terminal: Callable[..., Terminal], command: str) -> None:
    terminal = at_terminal("exec", "command", f"{command} && exit 5; exit 6")
    assert terminal.status() == 6
    assert b"\nsecret" not in terminal.seen
    assert b"No such device" in terminal.seen


def test_a_script_has_no_terminal_either(at_terminal: Callable[..., Terminal]) -> None:
    code = "import os; print(os.getsid(0) == os.getpgrp() == os.getpid()); open('/dev/tty')"
    terminal = at_terminal("exec", "script", json.dumps({"language": "python", "type": "inline", "code": code}))
    assert terminal.status() == 1
    assert b"True" in terminal.seen
    assert b"No such device" in terminal.seen


def test_ctrl_c_stops_a_task_of_exec(at_terminal: Callable[..., Terminal]) -> None:
    terminal = at_terminal("exec", "command", "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    terminal.read(lambda: b"up" in terminal.seen)
    terminal.type(b"\x03")
    assert terminal.status() != 0
    assert b"asked" in terminal.seen


def test_ctrl_c_ends_the_worker_in_order_even_where_the_background_may_not_write(
    at_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    (tmp_path / "config_worker.json").write_text('{"execution": {"drain": 20}}')
    jobs = [
        {"name": "long", "time": "* * * * * *", "command": f"touch {tmp_path}/up; sleep 1.5; touch {tmp_path}/done"}
    ]
    (tmp_path / "schedule.json").write_text(json.dumps({"jobs": jobs}))
    terminal = at_terminal()
    terminal.forbid_the_background_to_write()
    terminal.read((tmp_path / "up").exists)
    terminal.type(b"\x03")
    assert terminal.status() == 0
    assert (tmp_path / "done").exists(), "Ctrl-C reached the task, or was heard twice"
    assert b"shutting down" in terminal.seen
    assert b"ended" in terminal.seen
