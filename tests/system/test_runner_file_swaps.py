"""Somebody who may write where a backup goes swaps what grows there for links: nothing outside is touched (G70)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.file.sftp import Sftp
from adapters.testkit.file_machine import Machine
from domain.status import Status

CALLS = [
    "mkdir",
    "open",
    "symlink",
    "rename",
    "replace",
    "fchmod",
    "utime",
    "fsync",
    "chmod",
    "rmdir",
    "listdir",
    "stat",
]


def source(root: Path) -> Path:
    """A tree whose names are those of the victim's entries, and whose modes would open them to everybody."""
    base = root / "source"
    (base / "sub").mkdir(parents=True)
    for name in ("passwd", "sub/other"):
        (base / name).write_text("evil")
        (base / name).chmod(0o777)
    (base / "link").symlink_to("passwd")
    (base / "sub").chmod(0o777)
    base.chmod(0o777)
    return base


class Victim:
    """A tree outside that must stay as it is: names, contents, permissions, times."""

    def __init__(self, root: Path) -> None:
        self.path = root / "victim"
        for name in ("sub", "new/sub"):
            (self.path / name).mkdir(parents=True)
            (self.path / name).chmod(0o700)
        for name in ("passwd", "sub/other", "new/other"):
            (self.path / name).write_text("precious")
            (self.path / name).chmod(0o600)
        for path in [*self.path.rglob("*"), self.path]:
            os.utime(path, (1_000, 1_000))
        self._before = self._now()

    def _now(self) -> dict[str, Any]:
        found = {}
        for path in [self.path, *self.path.rglob("*")]:
            info = os.lstat(path)
            text = path.read_text() if stat.S_ISREG(info.st_mode) else ""
            found[str(path)] = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_ino, text)
        return found

    def check(self) -> None:
        assert self._now() == self._before


def swap(folder: Path, victim: Path, number: int) -> bool:
    """Put a link in the place of what grows in a folder; returns whether there was something."""
    found = False
    for name in os.listdir(folder):
        if name.endswith(".part") and not os.path.islink(folder / name):
            os.rename(folder / name, folder / f"kept{number}")
            os.symlink(victim, folder / name)
            found = True
    return found


class Attacker:
    """Swaps just before or just after the ``nth`` system call of a task that has begun to let something grow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, victim: Path, nth: int, after: bool) -> None:
        self.folder, self.victim, self.nth, self.after = folder, victim, nth, after
        self.calls, self.hits, self.busy = 0, 0, False
        for name in CALLS:
            real = getattr(os, name) if name != "fsync" else lambda _: None  # the disk is not asked here
            monkeypatch.setattr(os, name, self._around(real))

    def _around(self, real: Any) -> Any:
        def called(*args: Any, **more: Any) -> Any:
            if self.busy:
                return real(*args, **more)
            self.calls += self.calls > 0 or ".part" in str(args[:1])
            self.strike(not self.after)
            try:
                return real(*args, **more)
            finally:
                self.strike(self.after)

        return called

    def strike(self, now: bool) -> None:
        if now and self.calls == self.nth:
            self.busy = True
            self.hits += swap(self.folder, self.victim, self.nth)
            self.busy = False


ACTIONS: dict[str, dict[str, Any]] = {
    "copy": {"action": "backup"}, "copy of a file": {"action": "backup", "source": "passwd"},
    "archive": {"action": "backup", "compress": True}, "incremental copy": {"action": "backup", "incremental": True},
    "compress": {"action": "compress", "format": "zip"},
}  # fmt: skip


def task(base: Path, folder: Path, how: str) -> dict[str, Any]:
    args = dict(ACTIONS[how])
    return args | {"source": str(base / args.get("source", "")).rstrip("/"), "target": str(folder / "app")}


@pytest.mark.parametrize("how", ACTIONS)
@pytest.mark.parametrize("after", [False, True], ids=["before each call", "after each call"])
def test_a_swap_at_any_call_touches_nothing_outside(tmp_path: Path, how: str, after: bool) -> None:
    base, victim, folder = source(tmp_path), Victim(tmp_path), tmp_path / "backups"
    number = hits = 0
    while True:
        number += 1
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            attacker = Attacker(patch, folder, victim.path, number, after)
            Machine(tmp_path).execute(**task(base, folder, how))
        victim.check()
        hits += attacker.hits
        for path in folder.iterdir():
            assert path.name.startswith((".", "kept", "app")), path
            assert not path.name.startswith("app") or not path.is_symlink()
        shutil.rmtree(folder)
        if attacker.calls < number:
            break
    assert hits > 10


@contextlib.contextmanager
def racing(folder: Path, victim: Path) -> Iterator[None]:
    """Another process that swaps whatever grows as fast as it can, and puts it back now and then."""
    text = f"""
import os, itertools
folder, victim = {str(folder)!r}, {str(victim)!r}
os.chdir(folder)
print("ready", flush=True)
for number in itertools.count():
    for name in os.listdir("."):
        if name.endswith(".part") and not os.path.islink(name):
            try:
                os.rename(name, f"kept{{number}}")
                os.symlink(victim, name)
                if number % 4 == 0:
                    os.unlink(name)
                    os.rename(f"kept{{number}}", name)
            except OSError:
                pass
"""
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)


def race(tmp_path: Path, rounds: int) -> None:
    base, victim, folder = source(tmp_path), Victim(tmp_path), tmp_path / "backups"
    for number in range(5):
        (base / f"fresh{number}").write_text("evil")
    folder.mkdir()
    caught = 0
    with racing(folder, victim.path), pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # the disk is not asked here
        for number in range(rounds):
            how = list(ACTIONS)[number % len(ACTIONS)]
            Machine(tmp_path).execute(**task(base, folder, how))
            caught += cleared(folder)
            if number % 100 == 0:
                victim.check()
    victim.check()
    assert caught > rounds / 20


def cleared(folder: Path) -> bool:
    """Empty the folder; returns whether something was swapped there."""
    names = os.listdir(folder)
    for path in (folder / name for name in names):
        assert not (path.name.startswith("app") and path.is_symlink())
        with contextlib.suppress(OSError):  # the other process moves things about; what stays goes in the next round
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return any(name.startswith("kept") for name in names)


def test_a_race_of_swaps_touches_nothing_outside(tmp_path: Path) -> None:
    race(tmp_path, 500)


@pytest.mark.torture
@pytest.mark.timeout(1_800)
def test_a_long_race_of_swaps_touches_nothing_outside(tmp_path: Path) -> None:
    race(tmp_path, 100_000)


def test_a_target_whose_parents_are_swapped_leads_nowhere_else(tmp_path: Path) -> None:
    """Each directory on the way to the target becomes a link at each call."""
    base, victim = source(tmp_path), Victim(tmp_path)
    for at in ("one", "one/two"):
        number = calls = 1
        while number <= calls:
            (tmp_path / "one" / "two").mkdir(parents=True)
            place = tmp_path / at
            with pytest.MonkeyPatch.context() as patch:
                attacker = Attacker(patch, place.parent, victim.path, number, False)
                patch.setattr(f"{__name__}.swap", lambda folder, victim, number, place=place: swapped(place, victim))
                Machine(tmp_path).execute(**task(base, tmp_path / "one" / "two", "copy"))
            victim.check()
            calls, number = attacker.calls, number + 1
            for left in (tmp_path / "one", tmp_path / "one.kept"):
                left.unlink() if left.is_symlink() else shutil.rmtree(left, ignore_errors=True)


def swapped(place: Path, victim: Path) -> bool:
    if place.is_symlink() or not place.is_dir():
        return False
    place.rename(place.with_name(f"{place.name}.kept"))
    place.symlink_to(victim)
    return True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_another_ones_directory_is_not_grown_in(tmp_path: Path) -> None:
    base, folder = source(tmp_path), tmp_path / "backups"
    folder.mkdir()
    real = os.mkdir

    def made(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real(path, mode, dir_fd=dir_fd)
        if str(path).endswith(".part"):
            os.chown(path, 65_534, 65_534, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "mkdir", made)
        result = Machine(tmp_path).execute(**task(base, folder, "copy"))
    assert "something else meanwhile" in result.error
    assert os.listdir(folder) == []


def test_a_source_swapped_for_a_pipe_does_not_hang(tmp_path: Path) -> None:
    base, real = source(tmp_path), os.open

    def opened(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if path == "passwd" and not flags & os.O_CREAT:
            os.unlink(path, **more)
            os.mkfifo(path, **more)
        return real(path, flags, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        result = Machine(tmp_path).execute(**task(base, tmp_path, "copy"))
    assert "something else meanwhile" in result.error


def test_over_sftp_a_swap_that_was_made_is_seen(machine: Machine, tmp_path: Path) -> None:
    """There each step asks first where it would work; only a swap between a question and its step is not seen."""
    if machine.ssh is None:
        pytest.skip("here descriptors hold the place")
    base, victim, folder = source(tmp_path), Victim(tmp_path), tmp_path / "backups"
    for step in ("make_directory", "make_link", "_settled", "settle", "look"):
        folder.mkdir()
        real, hits = getattr(Sftp, step), []

        def stepped(self: Sftp, *args: Any, real: Any = real, hits: list[bool] = hits) -> Any:
            done = real(self, *args)
            hits.append(swap(folder, victim.path, 1))
            return done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Sftp, step, stepped)
            result = machine.execute(**task(base, folder, "copy"))
        victim.check()
        assert (any(hits), result.status) == (True, Status.FAILED), (step, result.error)
        shutil.rmtree(folder)
