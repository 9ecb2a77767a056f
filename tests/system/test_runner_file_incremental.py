"""Which files a backup takes: all of them, or all that no earlier one holds, whatever their times say."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.file import manifest
from domain.status import Status
from tests.support.file_machine import Machine

OLD = time.time() - 40 * 86_400


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits until what it wrote is older than the tick of a clock."""
    monkeypatch.setattr(manifest, "TICK", -60.0)
    monkeypatch.setattr(manifest, "WHOLE_SECONDS", -60.0)


def source(root: Path) -> Path:
    base = root / "source"
    (base / "sub").mkdir(parents=True)
    for name, text in (("a.txt", "first"), ("b.txt", "second"), ("sub/c.txt", "third")):
        (base / name).write_text(text)
        os.utime(base / name, (OLD, OLD))
    return base


class Series:
    """Backups of one source under one name."""

    def __init__(self, machine: Machine, base: Path, **more: Any) -> None:
        self.machine, self.base, self.folder = machine, base, base.parent / "backups"
        self._args = {"action": "backup", "source": str(base), "target": str(self.folder / "app"), "incremental": True}
        self._args |= more
        self.said = b""
        machine.log = self._take

    def _take(self, data: bytes) -> None:
        self.said += data

    def run(self, **more: Any) -> set[str]:
        """The regular files that one more backup holds."""
        document = self.machine.done(**self._args | more)
        held = held_by(Path(document["backup_file"]))
        assert document["copied_count"] == len(held)
        return held


def held_by(backup: Path) -> set[str]:
    if backup.is_dir():
        return {str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file() and not path.is_symlink()}
    with tarfile.open(backup) as tar:
        return {member.name for member in tar.getmembers() if member.isfile()}


KINDS = [{"compress": True}, {"compress": True, "format": "tar"}, {}]


@pytest.mark.parametrize("how", KINDS, ids=["tar.gz", "tar", "copy"])
@pytest.mark.parametrize("incremental", [False, True], ids=["full", "first incremental"])
@pytest.mark.parametrize("when", [0, 1, -86_400, 4_000_000_000, 100_000_000_000])
def test_a_backup_takes_files_of_any_time(tmp_path: Path, how: dict[str, Any], incremental: bool, when: int) -> None:
    base = source(tmp_path)
    os.utime(base / "a.txt", (when, when))
    assert Series(Machine(tmp_path), base, **how).run(incremental=incremental) == {"a.txt", "b.txt", "sub/c.txt"}


@pytest.mark.parametrize("when", [0, 1, 4_000_000_000])
def test_a_backup_over_sftp_takes_files_of_any_time(machine: Machine, tmp_path: Path, when: int) -> None:
    base = source(tmp_path)
    os.utime(base / "a.txt", (when, when))
    assert Series(machine, base).run(incremental=False) == {"a.txt", "b.txt", "sub/c.txt"}


def moved_in(base: Path) -> None:
    made = base.parent / "elsewhere"
    made.write_text("from elsewhere")
    os.utime(made, (OLD, OLD))
    made.rename(base / "new")


def copied_in(base: Path) -> None:
    subprocess.run(["cp", "-p", base / "a.txt", base / "new"], check=True)


def unpacked_in(base: Path) -> None:
    archive = base.parent / "x.tar"
    shutil.copy2(base / "a.txt", base.parent / "new")
    subprocess.run(["tar", "-cf", archive, "-C", base.parent, "new"], check=True)
    subprocess.run(["tar", "-xpf", archive, "-C", base], check=True)


def linked_in(base: Path) -> None:
    os.link(base / "sub" / "c.txt", base / "new")
    (base / "sub" / "c.txt").unlink()


def moved_as_a_directory(base: Path) -> None:
    made = base.parent / "elsewhere"
    made.mkdir()
    shutil.copy2(base / "a.txt", made / "new")
    os.utime(made, (OLD, OLD))
    made.rename(base / "directory")


def of_the_future(base: Path) -> None:
    (base / "new").write_text("x")
    os.utime(base / "new", (4_000_000_000, 4_000_000_000))


def of_a_clock_set_back(base: Path) -> None:
    (base / "a.txt").write_text("longer than before")
    os.utime(base / "a.txt", (OLD - 86_400, OLD - 86_400))


def at_a_time_of_zero(base: Path) -> None:
    (base / "new").write_text("x")
    os.utime(base / "new", (0, 0))


CHANGES: list[tuple[Callable[[Path], None], set[str]]] = [
    (moved_in, {"new"}), (copied_in, {"new"}), (unpacked_in, {"new"}), (linked_in, {"new"}),
    (moved_as_a_directory, {"directory/new"}), (of_the_future, {"new"}), (of_a_clock_set_back, {"a.txt"}),
    (at_a_time_of_zero, {"new"}),
    (lambda base: (base / "a.txt").rename(base / "renamed.txt") and None, {"renamed.txt"}),
    (lambda base: (base / "sub").rename(base / "other") and None, {"other/c.txt"}),
    (lambda base: (base / "a.txt").chmod(0o600), {"a.txt"}),
    (lambda base: (base / "a.txt").unlink(), set()),
]  # fmt: skip


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(("change", "packed"), CHANGES, ids=[getattr(change, "__name__", "") for change, _ in CHANGES])
def test_an_incremental_backup_takes_whatever_is_new_or_different(
    machine: Machine, tmp_path: Path, change: Callable[[Path], None], packed: set[str]
) -> None:
    series = Series(machine, source(tmp_path), compress=True)
    assert series.run() == {"a.txt", "b.txt", "sub/c.txt"}
    assert series.run() == set()
    change(series.base)
    taken = series.run()
    # Another name of a file, or one name less, changes the change time of all.
    assert packed <= taken <= packed | ({"sub/c.txt"} if change is linked_in else set())
    # Over SFTP all that tells of a change is a time, and this one has not come yet.
    assert series.run() == (packed if change is of_the_future and machine.ssh else set())


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("how", KINDS, ids=["tar.gz", "tar", "copy"])
def test_a_file_replaced_by_one_of_the_same_size_and_time_is_taken(tmp_path: Path, how: dict[str, Any]) -> None:
    series = Series(Machine(tmp_path), source(tmp_path), **how)
    series.run()
    (tmp_path / "other").write_text("FIRST")
    os.utime(tmp_path / "other", (OLD, OLD))
    (tmp_path / "other").rename(series.base / "a.txt")
    (series.base / "b.txt").write_text("SECOND")
    os.utime(series.base / "b.txt", (OLD, OLD))
    assert series.run() == {"a.txt", "b.txt"}


def test_a_file_that_has_only_just_changed_is_taken_again(machine: Machine, tmp_path: Path) -> None:
    """It can change once more without any time showing it."""
    series = Series(machine, source(tmp_path), compress=True)
    ahead = time.time() + 3600
    for path in series.base.rglob("*.txt"):
        os.utime(path, (ahead, ahead))
    first, second = series.run(), series.run()
    assert first == {"a.txt", "b.txt", "sub/c.txt"}
    assert second == first or machine.ssh is None  # a local file is as old as its change, not as it says


def test_what_stands_long_enough_is_not_taken_again(tmp_path: Path) -> None:
    series = Series(Machine(tmp_path), source(tmp_path))
    end = time.monotonic() + 60
    series.run()
    while series.run() and time.monotonic() < end:
        pass
    assert series.run() == set()


@pytest.mark.usefixtures("settled")
def test_what_lay_in_a_backup_that_is_gone_is_taken_again(machine: Machine, tmp_path: Path) -> None:
    series = Series(machine, source(tmp_path), compress=True)
    first = series.run()
    (series.base / "new").write_text("x")
    assert series.run() == {"new"}
    (held,) = [path for path in series.folder.glob("app_*.tar.gz") if held_by(path) == first]
    held.unlink()
    assert series.run() == first


@pytest.mark.usefixtures("settled")
def test_old_backups_expire_only_with_nothing_lost(machine: Machine, tmp_path: Path) -> None:
    """What only the expiring backup holds goes into the one that is being made."""
    series = Series(machine, source(tmp_path), keep_days=7)
    everything = series.run()
    (first,) = series.folder.glob("app_*")
    old = first.rename(first.with_name("app_202001010000"))
    path = series.folder / ".app_manifest.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(first.name.encode(), old.name.encode())))
    (series.base / "new").write_text("x")
    assert series.run() == everything | {"new"}
    assert not old.exists()
    assert series.run() == set()


def test_backups_of_a_name_with_an_extension_expire_too(machine: Machine, tmp_path: Path) -> None:
    base = source(tmp_path)
    args = {"action": "backup", "source": str(base), "target": str(tmp_path / "b" / "site.d"), "keep_days": 7}
    (tmp_path / "b" / "site_202001010000.d").mkdir(parents=True)
    (tmp_path / "b" / "site_202001010000.e").mkdir()
    made = Path(machine.done(**args)["backup_file"]).name
    assert sorted(os.listdir(tmp_path / "b")) == sorted([made, "site_202001010000.e"])


def spoilt(path: Path) -> None:
    path.write_bytes(b"no gzip")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def of_another_source(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'source"', b'source/x"', 1)))


def of_another_form(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"[1]\n"))


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [Path.unlink, spoilt, cut, of_another_source, of_another_form, a_link])
def test_without_a_manifest_that_can_be_used_everything_is_taken(
    machine: Machine, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    series = Series(machine, source(tmp_path), compress=True)
    everything = series.run()
    assert series.run() == set()
    damage(series.folder / ".app_manifest.gz")
    assert series.run() == everything
    assert b"everything is packed" in series.said
    assert series.run() == set()


@pytest.mark.usefixtures("settled")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_manifest_of_another_user_is_not_believed(machine: Machine, tmp_path: Path) -> None:
    series = Series(machine, source(tmp_path), compress=True)
    everything = series.run()
    os.chown(series.folder / ".app_manifest.gz", 65_534, 65_534)
    assert series.run() == everything


@pytest.mark.usefixtures("settled")
def test_full_backups_leave_no_manifest_and_count_for_none(machine: Machine, tmp_path: Path) -> None:
    series = Series(machine, source(tmp_path), compress=True)
    everything = series.run(incremental=False)
    assert [path.name for path in series.folder.iterdir() if path.name.startswith(".")] == []
    assert series.run() == everything
    (series.base / "new").write_text("x")
    assert series.run(incremental=False) == everything | {"new"}
    assert series.run() == {"new"}


@pytest.mark.usefixtures("settled")
def test_a_backup_that_fails_counts_for_nothing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = Series(machine, source(tmp_path), compress=True)
    series.run()
    (series.base / "new").write_text("x")
    before = sorted(os.listdir(series.folder))
    with monkeypatch.context() as patch:
        patch.setattr(manifest.Manifest, "packed", full_disk)
        args = {"action": "backup", "source": str(series.base), "target": str(series.folder / "app")}
        assert machine.execute(**args, compress=True, incremental=True).status is Status.FAILED
    assert sorted(os.listdir(series.folder)) == before
    assert series.run() == {"new"}


def full_disk(*_: Any) -> None:
    raise OSError(28, os.strerror(28))


@pytest.mark.usefixtures("settled")
def test_two_sources_under_one_name_lose_nothing(machine: Machine, tmp_path: Path) -> None:
    one = Series(machine, source(tmp_path), compress=True)
    shutil.copytree(one.base, tmp_path / "second")
    other = Series(machine, tmp_path / "second", compress=True)
    everything = one.run()
    for series in (other, one, other):
        assert series.run() == everything


@pytest.mark.usefixtures("settled")
def test_a_single_file_is_always_taken_whole(machine: Machine, tmp_path: Path) -> None:
    base = source(tmp_path)
    args = {"action": "backup", "source": str(base / "a.txt"), "target": str(tmp_path / "s" / "a"), "incremental": True}
    kept = [Path(machine.done(**args)["backup_file"]) for _ in range(2)]
    assert [path.read_text() for path in kept] == ["first"] * 2


@pytest.mark.usefixtures("settled")
def test_names_of_any_bytes_are_known_again(tmp_path: Path) -> None:
    series = Series(Machine(tmp_path), source(tmp_path))
    for name in (b"\xff\xfe", "ü".encode(), b"new\nline", b'"quoted"', b"[1]"):
        with contextlib.closing(open(os.fsencode(series.base) + b"/" + name, "wb")) as file:
            file.write(b"x")
    assert len(series.run()) == 8
    assert series.run() == set()


@pytest.mark.usefixtures("settled")
def test_a_series_inside_its_own_source_holds_no_manifest(machine: Machine, tmp_path: Path) -> None:
    base = source(tmp_path)
    args = {"action": "backup", "source": str(base), "target": str(base / "app"), "incremental": True}
    machine.done(**args, compress=True)
    second = held_by(Path(machine.done(**args, compress=True)["backup_file"]))
    assert [name for name in second if "manifest" in name] == []


def test_the_manifest_tells_which_backup_holds_which_file(machine: Machine, tmp_path: Path) -> None:
    series = Series(machine, source(tmp_path), compress=True)
    series.run()
    (backup,) = series.folder.glob("app_*")
    lines = gzip.decompress((series.folder / ".app_manifest.gz").read_bytes()).splitlines()
    assert json.loads(lines[0]) == {"source": str(series.base)}
    if machine.ssh is not None:  # there the files are old enough by what they say
        assert sorted(json.loads(line)[0::2] for line in lines[1:]) == [
            [name, backup.name] for name in ("a.txt", "b.txt", "sub/c.txt")
        ]
