"""The first minutes on a machine: which Python runs the program, and what the Makefile makes of a .venv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

from adapters.guardian.interpreter import NEEDED

ROOT = Path(__file__).parent.parent.parent
LONG = 120  # seconds; a virtual environment is made within


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has nothing but its standard library."""
    where = tmp_path_factory.mktemp("bare")
    venv.EnvBuilder(symlinks=True).create(where)
    return where / "bin" / "python"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The program in a directory of its own, without a .venv; its locks are empty."""
    made = tmp_path / "a clone"
    made.mkdir()
    for name in ("bootstrap.py", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, made)
    for name in ("adapters", "application", "domain"):
        (made / name).symlink_to(ROOT / name)
    for name in ("requirements.lock", "requirements-dev.lock"):
        (made / name).touch()
    return made


def run(*command: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(command, cwd=cwd, env=kept | more, capture_output=True, text=True, timeout=LONG, check=False)


def put_python(clone: Path, script: str) -> None:
    """What stands as the Python of the clone's .venv."""
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)


def put_good_python(clone: Path) -> None:
    put_python(clone, f'exec {sys.executable} "$@"')


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (78, "", 1), done.stderr
    for word in (*words, "make setup"):
        assert word in done.stderr


# -- python bootstrap.py -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["run"], ["--help"], ["exec", "command", "true"], ["no-such-command"]])
@pytest.mark.parametrize("flags", [[], ["-I"], ["-P", "-E"]])
def test_without_its_packages_the_program_says_so_in_one_line(
    bare: Path, clone: Path, flags: list[str], arguments: list[str]
) -> None:
    assert_one_line(run(bare, *flags, "bootstrap.py", *arguments, cwd=clone), str(clone), "click", "pydantic")


@pytest.mark.parametrize("flags", [["-I"], ["-P"], ["-E", "-s", "-X", "utf8"], []])
def test_any_python_goes_on_as_that_of_the_venv_with_its_flags_and_arguments(
    bare: Path, clone: Path, tmp_path: Path, flags: list[str]
) -> None:
    put_good_python(clone)
    shown = 'tr "\\0" "\\n" </proc/$PPID/cmdline; env | grep -c VENV_TRIED'
    arguments = ["--set", "worker.name=a b", "exec", "command", shown]
    done = run(bare, *flags, clone / "bootstrap.py", *arguments, cwd=tmp_path)
    *seen, tried = done.stdout.splitlines()
    assert (seen, tried) == ([sys.executable, *flags, str(clone / "bootstrap.py"), *arguments], "0"), done.stderr


def test_a_python_that_has_the_packages_stays_what_it_is(clone: Path) -> None:
    put_python(clone, "echo never; exit 5")
    assert run(sys.executable, "bootstrap.py", "exec", "command", "echo on", cwd=clone).stdout == "on\n"


def test_a_venv_without_the_packages_is_tried_once(bare: Path, clone: Path) -> None:
    put_python(clone, f'echo tried >>{clone.parent}/tries; exec {bare} "$@"')
    assert_one_line(run(bare, "bootstrap.py", cwd=clone), "click")
    assert (clone.parent / "tries").read_text() == "tried\n"


@pytest.mark.parametrize("kind", ["dangling", "directory", "no program", "a loop"])
def test_a_venv_whose_python_cannot_be_executed_is_none(bare: Path, clone: Path, kind: str) -> None:
    put_good_python(clone)
    python = clone / ".venv" / "bin" / "python"
    if kind == "no program":
        python.write_bytes(b"\0nonsense")
    else:
        python.unlink()
        python.mkdir() if kind == "directory" else python.symlink_to("python" if kind == "a loop" else "/no/python3")
    assert_one_line(run(bare, "bootstrap.py", cwd=clone))


def test_all_packages_that_the_program_cannot_do_without_are_looked_for() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split("[>=<]", text)[0].replace("-", "_").removesuffix("_client") for text in declared}
    assert names - {"tzdata"} == set(NEEDED)  # without that, the zones of the system serve
    assert [name for name in NEEDED if find_spec(name) is None] == []


# -- make ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("ensurepip") is None, reason="no ensurepip: install python3-venv")
def test_a_half_made_venv_is_made_anew(clone: Path, bare: Path) -> None:
    """As a `python3 -m venv` leaves it that found no pip to put in."""
    shutil.copytree(bare.parent.parent, clone / ".venv", symlinks=True)
    (clone / ".venv" / "left").touch()
    python = getattr(sys, "_base_executable", sys.executable)
    done = run("make", f"PYTHON={python}", ".venv/.dev", cwd=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (clone / ".venv" / "left").exists()
    assert done.stdout.count("No broken requirements found") == 2


@pytest.mark.parametrize("name", ["python3", "python3.12"])
def test_a_python_that_makes_no_venv_is_told_with_the_package_that_helps(clone: Path, name: str) -> None:
    (clone / "lacking").mkdir()
    (clone / "lacking" / "ensurepip.py").write_text("raise ModuleNotFoundError\n")
    python = clone.parent / name
    python.write_text(f"#!/bin/sh\nexport PYTHONPATH='{clone}/lacking'\nexec {sys.executable} \"$@\"\n")
    python.chmod(0o755)
    done = run("make", f"PYTHON={python}", "run", cwd=clone)
    assert done.stdout.splitlines() == [
        f"{python} cannot make a virtual environment; as root: apt-get install {name}-venv"
    ]
    assert done.returncode == 2
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("python", ["no-such-python", "old"])
def test_a_python_that_is_missing_or_too_old_is_told(clone: Path, python: str) -> None:
    (clone.parent / "old").write_text("#!/bin/sh\nexit 1\n")
    (clone.parent / "old").chmod(0o755)
    done = run("make", f"PYTHON={clone.parent / python}", "run", cwd=clone)
    assert (done.returncode, "Python 3.11 or newer is needed" in done.stdout) == (2, True)


def to_do(clone: Path, target: str) -> str:
    done = run("make", "-n", target, cwd=clone)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_venv_that_was_finished_is_left_alone_while_the_program_starts_in_it(clone: Path, bare: Path) -> None:
    put_good_python(clone)
    (clone / ".venv" / ".run").touch()
    assert "pip" not in to_do(clone, "run")
    put_python(clone, f'exec {bare} "$@"')  # the system has another Python now, and that has no packages
    assert "pip" in to_do(clone, "run")
    (clone / ".venv" / "bin" / "python").unlink()
    assert "pip" in to_do(clone, "run")


def test_locks_are_installed_as_they_are_and_checked(clone: Path) -> None:
    lines = [line for line in to_do(clone, "setup").splitlines() if " -m pip " in line and "--version" not in line]
    assert [set(line.split()) >= {"install", "--no-deps", "--require-hashes"} for line in lines] == [True, False] * 2
    assert [" check " in line for line in lines] == [False, True] * 2


def test_no_shell_stays_between_make_and_the_worker(clone: Path) -> None:  # G67
    assert to_do(clone, "run").splitlines()[-1] == "exec .venv/bin/python bootstrap.py"
