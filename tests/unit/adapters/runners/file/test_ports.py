"""What the ports say of entries."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from adapters.runners.file.ports import Found, kept_mode


def info(mode: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, 0, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("kind", "told"),
    [(stat.S_IFREG, (True, False, False)), (stat.S_IFDIR, (False, True, False)), (stat.S_IFLNK, (False, False, True)),
     (stat.S_IFIFO, (False, False, False)), (0, (False, False, False))],
)  # fmt: skip
def test_an_entry_is_of_one_kind_or_of_none(kind: int, told: tuple[bool, bool, bool]) -> None:
    found = Found(Path("/a"), "a", -1, info(kind | 0o644))
    assert (found.is_file, found.is_dir, found.is_link) == told


@pytest.mark.parametrize(
    ("mode", "kept"), [(stat.S_IFREG | 0o7755, 0o755), (stat.S_IFDIR | 0o7755, 0o1755), (stat.S_IFREG | 0o640, 0o640)]
)
def test_a_copy_runs_as_nobody_else(mode: int, kept: int) -> None:
    assert kept_mode(info(mode)) == kept
