"""Where a task works."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from adapters.process.workdir import NoWorkingDirectory, leave, prepare
from domain.runner import ExecutionContext


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(text: str, **environment: str) -> ExecutionContext:
    return ExecutionContext(working_dir=Path(text), environment=environment)


def test_who_asks_for_nothing_stays_where_the_worker_is() -> None:
    assert prepare(ExecutionContext()) is None


def test_the_directory_of_a_task_that_asked_for_none_is_made_where_it_is_wanted(tmp_path: Path) -> None:
    context = ExecutionContext(default_dir=tmp_path / "jobs" / "t")
    assert prepare(context, use_default=False) is None
    assert not (tmp_path / "jobs").exists()
    assert prepare(context) == tmp_path / "jobs" / "t"
    assert stat.S_IMODE((tmp_path / "jobs" / "t").stat().st_mode) & 0o700 == 0o700


@pytest.mark.parametrize(
    ("text", "below"),
    [("~", "."), ("~/a", "a"), ("$WHERE/a", "w/a"), ("${WHERE}a", "wa"), ("$HOME/a", "a"), ("relative", "relative")],
)
def test_a_directory_is_meant_as_a_shell_reads_it(home: Path, text: str, below: str) -> None:
    found = prepare(asked(text, WHERE=str(home / "w")))
    assert found == home / below
    assert found.is_dir()


def test_the_home_of_the_task_s_own_environment_counts_first(home: Path) -> None:
    assert prepare(asked("~/a", HOME=str(home / "other"))) == home / "other" / "a"


def test_a_directory_that_is_there_is_taken_by_its_name(home: Path) -> None:
    odd = home / "$NAME"
    odd.mkdir()
    assert prepare(asked(str(odd), NAME="x")) == odd


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$NOBODY_SETS_THIS/a", "the task's environment has no NOBODY_SETS_THIS"),
        ("~no-such-user/a", "no home directory of no-such-user is known"),
        ("file", "is not a directory"),
        ("file/below", "cannot be made: Not a directory"),
        ("a\0b", "cannot be made: "),
    ],
)
def test_what_cannot_be_had_is_told_with_its_reason(home: Path, text: str, reason: str) -> None:
    (home / "file").write_text("")
    with pytest.raises(NoWorkingDirectory, match=f"the working directory .*{reason}"):
        prepare(asked(text))


def test_the_directory_of_one_task_goes_with_it_unless_something_is_left_there(tmp_path: Path) -> None:
    for name, left, stays in (("empty", None, False), ("used", "result", True)):
        context = ExecutionContext(task_id=name, default_dir=tmp_path / name)
        made = prepare(context)
        assert made is not None
        if left:
            (made / left).write_text("")
        leave(context)
        assert made.exists() is stays
        leave(context)


def test_the_directory_of_a_planned_job_and_one_that_was_asked_for_stay(tmp_path: Path) -> None:
    job = ExecutionContext(task_id="t", default_dir=tmp_path / "job")
    own = ExecutionContext(task_id="t", default_dir=tmp_path / "t", working_dir=tmp_path / "t")
    for context in (job, own):
        made = prepare(context)
        leave(context)
        assert made is not None
        assert made.is_dir()
