"""What a copy takes over from the source, and what never: the right to become its owner."""

from __future__ import annotations

import os
import stat
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.file_machine import Machine

MODES = [0o4755, 0o2755, 0o6711, 0o1644, 0o7777, 0o755, 0o600, 0o444]


def packed(path: Path) -> dict[str, int]:
    """Name and permissions of all that a backup or archive holds."""
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return {info.filename.rstrip("/"): stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()}
    if path.is_dir():
        return {str(one.relative_to(path)): stat.S_IMODE(one.stat().st_mode) for one in path.rglob("*")}
    with tarfile.open(path) as tar:
        return {member.name: member.mode for member in tar.getmembers()}


@pytest.mark.parametrize("kind", ["", "tar", "tar.gz", "zip"])
@pytest.mark.parametrize("action", ["backup", "compress"])
def test_no_copy_runs_as_its_owner(machine: Machine, tmp_path: Path, action: str, kind: str) -> None:
    if action == "compress" and not kind:
        pytest.skip("compress always makes an archive")
    base = tmp_path / "source"
    base.mkdir()
    for mode in MODES:
        (base / f"f{mode:o}").write_text("#!/bin/sh\nid\n")
        (base / f"f{mode:o}").chmod(mode)
        (base / f"d{mode:o}").mkdir()
        (base / f"d{mode:o}").chmod(mode | 0o700)
    more: dict[str, Any] = {"format": kind} if kind else {}
    more |= {"compress": True} if action == "backup" and kind else {}
    document = machine.done(action=action, source=str(base), target=str(tmp_path / "out"), **more)
    found = packed(Path(document["backup_file" if action == "backup" else "target"]))
    assert found == {f"f{mode:o}": mode & 0o777 for mode in MODES} | {
        f"d{mode:o}": (mode | 0o700) & 0o1777 for mode in MODES
    }


@pytest.mark.parametrize("mode", [0o4755, 0o2750, 0o4111])
def test_no_copy_of_a_single_file_runs_as_its_owner(machine: Machine, tmp_path: Path, mode: int) -> None:
    if machine.ssh is None and os.geteuid() != 0 and not mode & 0o400:
        pytest.skip("who cannot read it cannot copy it")
    (tmp_path / "tool").write_text("x")
    (tmp_path / "tool").chmod(mode)
    copy = machine.done(action="backup", source=str(tmp_path / "tool"), target=str(tmp_path / "out"))["backup_file"]
    assert stat.S_IMODE(os.stat(copy).st_mode) == mode & 0o777


@pytest.mark.parametrize("mode", [0o6755, 0o3777, 0o2555])
def test_the_top_of_a_copied_tree_gives_nobody_its_group(machine: Machine, tmp_path: Path, mode: int) -> None:
    base = tmp_path / "source"
    base.mkdir()
    (base / "x").write_text("x")
    base.chmod(mode)
    os.utime(base, (100, 200))
    copy = os.stat(machine.done(action="backup", source=str(base), target=str(tmp_path / "out"))["backup_file"])
    assert (stat.S_IMODE(copy.st_mode), copy.st_mtime) == (mode & 0o1777, 200)


# -- numbers of the outputs


@pytest.mark.parametrize(
    ("content", "least", "most"),
    [(bytes(1_000_000), 99.0, 100.0), (os.urandom(100_000), -5.0, 0.5), (b"x", -1e6, -1.0)],
)
@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_the_ratio_is_the_share_that_was_saved(
    machine: Machine, tmp_path: Path, content: bytes, least: float, most: float, kind: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    ratio = machine.done(action="compress", source=str(tmp_path / "x"), format=kind)["compression_ratio"]
    assert least <= float(ratio.removesuffix("%")) <= most
    assert ratio != "-0.0%"


def test_nothing_saves_nothing(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert machine.done(action="compress", source=str(tmp_path / "empty"))["compression_ratio"] == "0.0%"


@pytest.mark.parametrize("when", [0, -1, 253_402_300_800, 1 << 40])
def test_files_of_any_time_are_measured(tmp_path: Path, when: int) -> None:
    (tmp_path / "x").touch()
    os.utime(tmp_path / "x", (when, when))
    (top,) = Machine(tmp_path).done(action="stat", path=str(tmp_path))["top_files"]
    try:
        assert top["modified"] == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(os.stat(tmp_path / "x").st_mtime))
    except AssertionError:
        assert top["modified"] == f"@{int(os.stat(tmp_path / 'x').st_mtime)}"
