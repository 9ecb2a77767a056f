"""Control groups on directories that look like them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.process import cgroups
from adapters.process.cgroups import PREFIX, Cgroup, Cgroups, find_parent, open_cgroups
from domain.errors import ConfigError


def group_at(path: Path, *pids: int) -> Cgroup:
    path.mkdir()
    (path / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    return Cgroup(path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The group of this process."""
    group_at(tmp_path / "home")
    monkeypatch.setattr(cgroups, "_own_group", lambda: tmp_path / "home")
    return tmp_path / "home"


def test_the_processes_of_a_group_are_those_of_the_groups_below_it_too(tmp_path: Path) -> None:
    group = group_at(tmp_path / "run", 11, 12)
    group_at(tmp_path / "run" / "inner", 13)
    assert sorted(group.pids()) == [11, 12, 13]


def test_a_group_that_is_gone_is_empty_and_removed(tmp_path: Path) -> None:
    group = Cgroup(tmp_path / "gone")
    group.kill()
    assert group.pids() == []
    assert group.remove()


def test_a_group_that_cannot_be_seen_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:  # G60
    (tmp_path / "run" / "cgroup.procs").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        Cgroup(tmp_path / "run").pids()


def test_a_group_is_removed_with_those_below_it_unless_something_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "empty" / "inner" / "innermost").mkdir(parents=True)
    assert Cgroup(tmp_path / "empty").remove()
    assert not (tmp_path / "empty").exists()
    assert not group_at(tmp_path / "full", 11).remove()


def test_what_is_started_is_born_in_a_new_group_and_this_process_steps_back(home: Path) -> None:
    with Cgroups(home.parent, "owner").birth() as group:
        assert group is not None
        assert group.path.name.startswith(f"{PREFIX}owner.")
        assert group.pids() == [os.getpid()]
        assert (home / "cgroup.procs").read_text() == ""
    assert (home / "cgroup.procs").read_text() == str(os.getpid())


def test_a_task_starts_without_a_group_where_none_can_be_made(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "worker.process"), Cgroups(home.parent / "gone", "owner").birth() as group:
        assert group is None
    assert "no control group for a task: No such file or directory" in caplog.text


def test_a_process_that_cannot_leave_the_group_of_a_task_says_so(home: Path) -> None:
    groups = Cgroups(home.parent, "owner")
    birth = groups.birth()
    birth.__enter__()
    (home / "cgroup.procs").unlink()
    home.rmdir()
    with pytest.raises(RuntimeError, match="cannot leave the control group"):
        birth.__exit__(None, None, None)


def test_a_sweep_ends_the_groups_of_its_own_owner_only(home: Path, mocker: MockerFixture) -> None:
    kill = mocker.patch.object(Cgroup, "kill", autospec=True)
    for name in ("me.1", "me.2", "me2.1"):
        (home.parent / f"{PREFIX}{name}").mkdir()
    assert Cgroups(home.parent, "me").sweep() == 2
    assert {call.args[0].path.name for call in kill.call_args_list} == {f"{PREFIX}me.1", f"{PREFIX}me.2"}
    assert [path.name for path in home.parent.glob(f"{PREFIX}*")] == [f"{PREFIX}me2.1"]


def test_a_directory_that_makes_no_groups_is_refused_by_name_and_left_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"execution.cgroup: no control groups can be made in {tmp_path}"):
        find_parent(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_control_groups_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "worker.process"):
        assert open_cgroups("off", "owner") is None
    assert "no control groups" in caplog.text
