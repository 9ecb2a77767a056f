"""File tasks on real trees."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tarfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.runners.file.backup_names import free, human, stamped
from adapters.runners.file.runner import FileRunner
from adapters.runners.file.task import age_of, size_of
from adapters.runners.file.walk import Policy
from application.ports import Limits
from application.reporting import output_for
from domain.errors import InvalidTask
from domain.result import Result
from domain.runner import ExecutionContext
from domain.status import Status
from tests.support.file_machine import Machine
from tests.support.ssh_peer import SshPeer


def execute(root: Path, **args: Any) -> Result:
    return Machine(root).execute(**args)


def done(root: Path, **args: Any) -> dict[str, Any]:
    return Machine(root).done(**args)


def tree(root: Path) -> Path:
    base = root / "tree"
    (base / "sub").mkdir(parents=True)
    (base / "a.log").write_text("a" * 1536)
    (base / "b b.log").write_text("b")
    (base / "sub" / "c.log").write_text("c")
    (base / "keep.txt").write_text("k")
    (base / "link.log").symlink_to("/etc/passwd")
    os.mkfifo(base / "pipe")
    return base


# -- cleanup


def test_cleanup_deletes_what_matches_and_nothing_else(machine: Machine, tmp_path: Path) -> None:  # F2
    base = tree(tmp_path)
    document = machine.done(action="cleanup", path=str(base), pattern="*.log")
    assert document["deleted_count"] == 3
    assert sorted(os.listdir(base)) == ["keep.txt", "pipe", "sub"]
    assert Path("/etc/passwd").exists()
    assert machine.done(action="cleanup", path=str(base), pattern="*.log")["deleted_files"] is None


def test_age_and_size_and_exclusion_narrow_it(machine: Machine, tmp_path: Path) -> None:
    base = tree(tmp_path)
    os.utime(base / "a.log", (0, 0))
    common = {"action": "cleanup", "path": str(base), "pattern": "*", "dry_run": True}
    assert machine.done(**common, older_than="7d")["deleted_files"] == [f"{base}/a.log (1.5 KB)"]
    assert machine.done(**common, larger_than="1k")["deleted_count"] == 1
    assert machine.done(**common, exclude=["b b", "link", "pipe"])["deleted_count"] == 2


def test_what_could_not_be_deleted_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # F11
    base, unlink = tree(tmp_path), os.unlink

    def guarded(name: str, *, dir_fd: int | None = None) -> None:
        if name == "a.log":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", guarded)
    document = done(tmp_path, action="cleanup", path=str(base), pattern="?*.log")
    assert (document["deleted_count"], document["deleted_size"]) == (2, "12 B")  # one byte and a link of eleven
    assert (base / "a.log").exists()


def test_an_unreadable_directory_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # F13
    base, real, logs = tree(tmp_path), os.open, []

    def guarded(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if path == "sub":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *args, **more)

    monkeypatch.setattr(os, "open", guarded)
    runner = FileRunner([str(tmp_path)])
    runner.parse_args("", json.dumps({"action": "cleanup", "path": str(base), "pattern": "*.log", "recursive": True}))
    result = runner.execute(ExecutionContext(log=logs.append))
    assert (result.status, json.loads(result.output)["deleted_count"]) == (Status.SUCCESS, 3)
    assert f"{base}/sub: Permission denied" in b"".join(logs).decode()


NAMES = st.lists(
    st.tuples(
        st.sampled_from(["x", "y", "d/x", "d/e/y", "z z", "'q'", 'd/"$(id)"', "new\nline"]),
        st.sampled_from([".log", ".txt", ""]),
        st.booleans(),
    ),
    max_size=8,
)
PATTERNS = st.sampled_from(["*", "*.log", "x*", "?.txt", "[yz]*"])
FIXTURES = [HealthCheck.function_scoped_fixture]


@given(NAMES, PATTERNS, st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=FIXTURES)
def test_a_dry_run_lists_exactly_what_a_run_deletes(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str, bool]], pattern: str, recursive: bool
) -> None:  # F2, G71
    root = tmp_path_factory.mktemp("g71")
    dry_run_and_run(Machine(root), names, pattern, recursive)


@given(NAMES, PATTERNS, st.booleans())
@settings(max_examples=5, deadline=None, suppress_health_check=FIXTURES)
def test_a_dry_run_over_sftp_lists_exactly_what_a_run_deletes(
    tmp_path_factory: pytest.TempPathFactory, ssh_peer: SshPeer | None, names: list[tuple[str, str, bool]], pattern: str,
    recursive: bool,
) -> None:  # F1, F2, G71  # fmt: skip
    if ssh_peer is None:
        pytest.skip("sshd is missing: install openssh-server to test remote files")
    root = tmp_path_factory.mktemp("g71")
    dry_run_and_run(Machine(root, ssh_peer), names, pattern, recursive)


def dry_run_and_run(machine: Machine, names: list[tuple[str, str, bool]], pattern: str, recursive: bool) -> None:
    def there() -> set[str]:
        return {str(path) for path in machine.root.rglob("*") if path.is_symlink() or path.is_file()}

    for stem, suffix, old in names:
        path = machine.root / f"{stem}{suffix}f"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        if old:
            os.utime(path, (1, 1))
            path.with_name("x-link.log").unlink(missing_ok=True)
            path.with_name("x-link.log").symlink_to(path)
            os.utime(path.with_name("x-link.log"), (1, 1), follow_symlinks=False)
    common = {"action": "cleanup", "path": str(machine.root), "pattern": pattern, "recursive": recursive}
    common["older_than"] = "2h"
    before = there()
    listed = machine.done(**common, dry_run=True)["deleted_files"] or []
    assert there() == before
    deleted = machine.done(**common)["deleted_files"] or []
    assert sorted(listed) == sorted(deleted)
    assert {text.rsplit(" (", 1)[0] for text in deleted} == before - there()


def test_a_swap_race_never_deletes_outside(tmp_path: Path) -> None:  # G70, G71
    canary = tmp_path / "outside"
    canary.mkdir()
    (canary / "x.log").write_text("canary")
    base = tmp_path / "base"
    (base / "d").mkdir(parents=True)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            os.rename(base / "d", base / "kept")
            os.symlink(canary, base / "d")
            os.unlink(base / "d")
            os.rename(base / "kept", base / "d")

    thread = threading.Thread(target=swap)
    thread.start()
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        execute(base, action="cleanup", path=str(base), pattern="*.log", recursive=True)
    over.set()
    thread.join()
    assert (canary / "x.log").exists()


@pytest.mark.parametrize("text", ["1.5d", "7dd", "-7d", "d", "7 days", "1w", "9" * 5000 + "d", "9" * 5000 + "K"])
def test_an_age_or_size_that_is_not_understood_is_refused(text: str) -> None:  # F1
    with pytest.raises(InvalidTask):
        age_of(text)
    with pytest.raises(InvalidTask):
        size_of(text)


def test_a_negated_set_deletes_nothing_that_it_names(machine: Machine, tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "^.log"):
        (tmp_path / name).write_text("")
    assert machine.done(action="cleanup", path=str(tmp_path), pattern="[^a^].log")["deleted_count"] == 1
    assert sorted(os.listdir(tmp_path)) == ["^.log", "a.log"]


def test_the_path_of_a_file_is_that_file(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("xy")
    (tmp_path / "b.log").write_text("")
    measured = machine.done(action="stat", path=str(file))
    assert (measured["total_files"], measured["total_dirs"], measured["total_size"]) == (1, 0, "2 B")
    assert machine.done(action="cleanup", path=str(file), pattern="b*")["deleted_count"] == 0
    assert machine.done(action="cleanup", path=str(file), pattern="*.log")["deleted_files"] == [f"{file} (2 B)"]
    assert os.listdir(tmp_path) == ["b.log"]


def test_lists_of_many_files_leave_the_output_whole(tmp_path: Path) -> None:
    for number in range(900):
        (tmp_path / f"{number:03}{'x' * 100}").write_text("")
    here = Machine(tmp_path)
    result = here.execute(action="cleanup", path=str(tmp_path), pattern="*", dry_run=True)
    document = json.loads(output_for(result, Limits().output_limit))
    assert document["deleted_count"] == 900
    assert 0 < len(document["deleted_files"]) < 900
    top = json.loads(output_for(here.execute(action="stat", path=str(tmp_path), limit=900), Limits().output_limit))
    assert 0 < len(top["top_files"]) < 900


# -- paths


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "/etc/x",
        "/root",
        "/tmp/../etc",
        "relative",
        "/database",
        "/data-secret",
        "/tmpfoo",
        "/home/x/other",
        "/tmp/a\0b",
    ],
)
def test_paths_outside_the_roots_are_refused(path: str) -> None:  # 8.5
    with pytest.raises(InvalidTask):
        Policy(("/data", "/tmp", "/home/*/app")).check(path, "path")


def test_paths_inside_the_roots_pass() -> None:
    policy = Policy(("/data", "/home/*/app"))
    for path in ("/data", "/data/x/../y", "/home/eve/app/logs", "//data/x"):
        policy.check(path, "path")


def test_a_link_on_the_way_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "x.log").write_text("x")
    (root / "way").symlink_to(outside)
    for action in ({"action": "cleanup", "pattern": "*"}, {"action": "stat"}):
        result = machine.execute(path=str(root / "way"), **action)
        assert result.status is Status.FAILED
        assert "links are not followed" in result.error
    assert (outside / "x.log").exists()


def test_a_target_outside_the_roots_is_refused(tmp_path: Path) -> None:
    for args in ({"action": "backup", "target": "/etc/cron.d/x"}, {"action": "compress", "target": "/var/lib/x"}):
        with pytest.raises(InvalidTask, match="target"):
            execute(tmp_path, source=str(tmp_path), **args)


# -- backup and compress


def test_a_backup_copies_a_tree_with_its_links(machine: Machine, tmp_path: Path) -> None:
    base = tree(tmp_path)
    document = machine.done(action="backup", source=str(base), target=str(tmp_path / "b" / "app"))
    copy = Path(document["backup_file"])
    assert (document["copied_count"], document["copied_size"]) == (4, "1.5 KB")
    assert (copy / "sub" / "c.log").read_text() == "c"
    assert os.readlink(copy / "link.log") == "/etc/passwd"


def test_a_backup_keeps_modes_and_times(machine: Machine, tmp_path: Path) -> None:  # F9
    base = tree(tmp_path)
    for path, mode in ((base / "sub" / "c.log", 0o640), (base / "sub", 0o550), (base, 0o700)):
        path.chmod(mode)
        os.utime(path, (100, 200))
    copy = Path(machine.done(action="backup", source=str(base), target=str(tmp_path / "app"))["backup_file"])
    for name in ("sub/c.log", "sub", "."):
        kept, wanted = (copy / name).stat(), (base / name).stat()
        assert (kept.st_mode, kept.st_mtime) == (wanted.st_mode, wanted.st_mtime), name


def test_a_target_behind_a_link_is_refused(machine: Machine, tmp_path: Path) -> None:  # G70
    base, outside = tree(tmp_path), tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "way").symlink_to(outside)
    for rest in ("x", "deep/x"):
        for more in ({"action": "backup"}, {"action": "backup", "compress": True}, {"action": "compress"}):
            result = machine.execute(source=str(base), target=str(tmp_path / "way" / rest), **more)
            assert (result.status, "links are not followed" in result.error) == (Status.FAILED, True), result.error
    assert list(outside.iterdir()) == []


def test_a_single_file_is_backed_up_whole(machine: Machine, tmp_path: Path) -> None:  # F3
    (tmp_path / "one.txt").write_text("content")
    plain = machine.done(action="backup", source=str(tmp_path / "one.txt"), target=str(tmp_path / "copy.txt"))
    assert Path(plain["backup_file"]).read_text() == "content"
    packed = machine.done(action="backup", source=str(tmp_path / "one.txt"), target=str(tmp_path / "p"), compress=True)
    with tarfile.open(packed["backup_file"]) as archive:
        assert archive.getnames() == ["one.txt"]


def test_a_backup_into_its_own_source_does_not_hold_itself(machine: Machine, tmp_path: Path) -> None:  # F9
    base = tree(tmp_path)
    for _ in range(2):
        document = machine.done(action="backup", source=str(base), target=str(base / "sub" / "copy"))
        assert not (Path(document["backup_file"]) / "sub" / Path(document["backup_file"]).name).exists()
    assert (Path(document["backup_file"]) / "sub" / "c.log").read_text() == "c"


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # F9
    base = tree(tmp_path)
    monkeypatch.setattr(shutil, "copyfileobj", full_disk)
    result = execute(tmp_path, action="backup", source=str(base), target=str(tmp_path / "copy"))
    assert (result.status, "No space" in result.error) == (Status.FAILED, True)
    assert os.listdir(tmp_path) == ["tree"]


def test_a_full_disk_leaves_the_source_and_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # F5
    base = tree(tmp_path)
    (base / "pipe").unlink()
    monkeypatch.setattr(os, "fsync", full_disk)
    result = execute(tmp_path, action="compress", source=str(base), remove_source=True)
    assert (result.status, "No space" in result.error) == (Status.FAILED, True)
    assert os.listdir(tmp_path) == ["tree"]


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_two_backups_in_a_minute_are_two(machine: Machine, tmp_path: Path) -> None:  # F10
    (tmp_path / "one.txt").write_text("content")
    made = {
        machine.done(action="backup", source=str(tmp_path / "one.txt"), target=str(tmp_path / "c"), compress=True)[
            "backup_file"
        ]
        for _ in range(3)
    }
    assert len(made) == 3


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_an_archive_holds_the_tree_and_only_then_goes_the_source(
    machine: Machine, tmp_path: Path, kind: str
) -> None:  # F4, F5, F6
    base = tree(tmp_path)
    (base / "pipe").unlink()
    document = machine.done(action="compress", source=str(base), target=str(tmp_path / f"x.{kind}"), remove_source=True)
    target = Path(document["target"])
    if kind == "zip":
        with zipfile.ZipFile(target) as archive:
            names = archive.namelist()
            assert archive.read("sub/c.log") == b"c"
    else:
        with tarfile.open(target) as tar:
            names = tar.getnames()
            assert tar.getmember("link.log").issym()
    assert {"a.log", "b b.log", "sub/c.log", "link.log"} <= set(names)
    assert document["compressed_size"] == human(target.stat().st_size)
    assert document["file_count"] == 4
    assert not base.exists()


def test_a_source_with_a_special_file_is_kept(machine: Machine, tmp_path: Path) -> None:
    base = tree(tmp_path)
    document = machine.done(action="compress", source=str(base), remove_source=True)
    assert document["target"].endswith("tree.tar.gz")
    assert base.exists()


@pytest.mark.parametrize("action", ["backup", "compress"])
def test_a_link_is_no_source(machine: Machine, tmp_path: Path, action: str) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to("release")
    result = machine.execute(action=action, source=str(tmp_path / "current"), target=str(tmp_path / "out"))
    assert (result.status, "name what it leads to" in result.error) == (Status.FAILED, True)
    assert sorted(os.listdir(tmp_path)) == ["current", "release"]


@pytest.mark.parametrize(("when", "year"), [(1_700_000_000, 2023), (0, 1980), (1 << 33, 2107)])
def test_a_zip_keeps_times_as_far_as_it_can(tmp_path: Path, when: int, year: int) -> None:
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (when, when))
    done = Machine(tmp_path).done(action="compress", source=str(tmp_path / "a"), target=str(tmp_path / "a.zip"))
    with zipfile.ZipFile(done["target"]) as archive:
        assert archive.infolist()[0].date_time[0] == year


def test_an_archive_in_its_own_source_does_not_hold_itself(machine: Machine, tmp_path: Path) -> None:  # F9
    base = tree(tmp_path)
    document = machine.done(action="compress", source=str(base), target=str(base / "self.tar.gz"), remove_source=True)
    with tarfile.open(document["target"]) as archive:
        assert not any("self" in name for name in archive.getnames())
    assert base.exists()


def test_a_failed_archive_leaves_the_former_one(machine: Machine, tmp_path: Path) -> None:
    target = tmp_path / "x.tar.gz"
    target.write_text("former")
    result = machine.execute(action="compress", source=str(tmp_path / "missing"), target=str(target))
    assert result.status is Status.FAILED
    assert "missing" in result.error
    assert target.read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


# -- stat, names, cancel


def test_stat_counts_and_shows_the_largest(machine: Machine, tmp_path: Path) -> None:  # F7
    base = tree(tmp_path)
    document = machine.done(action="stat", path=str(base), limit=2)
    assert (document["total_files"], document["total_dirs"], document["total_size"]) == (4, 2, "1.5 KB")
    assert [entry["size"] for entry in document["top_files"]] == ["1.5 KB", "1 B"]
    by_name = machine.done(action="stat", path=str(base), sort_by="name")["top_files"]
    first = machine.done(action="stat", path=str(base), sort_by="name", limit=1)["top_files"]
    assert first == by_name[:1]
    assert [entry["path"] for entry in by_name] == sorted(entry["path"] for entry in by_name)


@pytest.mark.parametrize(
    ("target", "kind", "pattern"),
    [("/b/x", "", r"/b/x_T"), ("/b/x", "tar.gz", r"/b/x_T.tar.gz"), ("/b/x.tar.gz", "", "/b/x.tar_T.gz"),
     ("/b/app.v1.2", "tar.gz", "/b/app.v1_T.tar.gz"), ("/b/.cfg", "", "/b/_T.cfg"), ("/b/app/", "", "/b/app/app_T")],
)  # fmt: skip
def test_backups_are_named_as_ever(target: str, kind: str, pattern: str) -> None:
    import re

    assert re.sub(r"\d{12}", "T", stamped(target, kind)) == pattern
    assert free(Path("/nowhere/x_202601010000.tar")) == Path("/nowhere/x_202601010000.tar")


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KB"), (5 << 20, "5.0 MB")])
def test_sizes_are_written_as_ever(size: int, text: str) -> None:
    assert human(size) == text


def test_a_stop_ends_a_walk(tmp_path: Path) -> None:  # F8
    for number in range(50):
        (tmp_path / f"{number}.log").write_text("x")
    runner = FileRunner([str(tmp_path)])
    runner.parse_args("", json.dumps({"action": "cleanup", "path": str(tmp_path), "pattern": "*.log"}))
    result = runner.execute(ExecutionContext(log=lambda data: runner.stop() if b"deleted" in data else None))
    assert result.status is Status.STOPPED
    assert len(list(tmp_path.iterdir())) == 49


@pytest.mark.parametrize(
    "args", [{"action": "move"}, {"action": "cleanup", "path": "/tmp"}, {"action": "cleanup", "path": "/tmp", "pattern": "a/b"},
             {"action": "cleanup", "path": "/tmp", "pattern": "[ab"},
             {"action": "stat", "path": "/tmp", "limit": -1}, {"action": "compress", "source": "/tmp/x", "format": "rar"},
             {"action": "stat", "path": "/tmp", "host": "h"}, {"action": "stat", "path": "/tmp", "host": "a b", "credential": "c"},
             {"action": "stat", "path": "/t", "host": "h", "credential": "c", "port": 70000},
             {"action": "stat", "path": "/t", "host": "h", "credential": "c", "host_key_check": "no"}, {"action": "stat", "path": "/tmp", "sort_by": "colour"}],
)  # fmt: skip
def test_a_wrong_file_task_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        FileRunner(["/tmp"]).parse_args("", json.dumps(args))
