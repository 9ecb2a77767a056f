"""What grows on another machine until it is complete."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.runners.file.ports import FileTrouble
from adapters.runners.file.remote_growth import RemoteGrowth
from adapters.runners.file.sftp import Sftp


def like(mode: int, when: int = 1_000_000_000) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, 0, 0, 0, when, when, when))


def test_a_tree_gets_its_modes_and_times_at_its_place(sftp: Sftp, there: Path) -> None:
    growth = RemoteGrowth(sftp, there)
    growth.directory("")
    growth.directory("inner")
    with growth.file("inner/file", like(0o104640)) as out:
        out.write(b"text")
    growth.settle("inner", like(0o040750))
    growth.settle("", like(0o040555))
    assert (there / "new").stat().st_mode & 0o200  # else it could not be moved
    os.rename(there / "new", there / "done")
    growth.finish(there / "done")
    shown = [(there / "done" / name).stat() for name in ("", "inner", "inner/file")]
    assert [info.st_mode & 0o7777 for info in shown] == [0o555, 0o750, 0o640]
    assert {int(info.st_mtime) for info in shown} == {1_000_000_000}
    (there / "done").chmod(0o755)


def test_a_tree_that_may_be_written_to_is_settled_at_once_and_not_again(sftp: Sftp, there: Path) -> None:
    growth = RemoteGrowth(sftp, there)
    growth.directory("")
    growth.settle("", like(0o040700))
    growth.finish(there / "nothing is asked of this")
    assert (int((there / "new").stat().st_mtime), (there / "new").stat().st_mode & 0o777) == (1_000_000_000, 0o700)


def test_a_place_that_leads_elsewhere_is_not_written_to(
    sftp: Sftp, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = RemoteGrowth(sftp, there)
    growth.directory("")
    monkeypatch.setattr(sftp, "real", lambda path: Path("/elsewhere"))
    for use in (lambda: growth.directory("x"), lambda: growth.link("x", "y"), lambda: growth.file("x", like(0o100644))):
        with pytest.raises(FileTrouble, match="leads to /elsewhere"):
            use()
    assert list((there / "new").iterdir()) == []
