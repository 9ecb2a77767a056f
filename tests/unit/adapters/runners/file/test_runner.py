"""File tasks as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.runners.file.runner import FileRunner
from domain.errors import InvalidTask
from domain.result import EndReason
from domain.runner import ExecutionContext
from tests.support.tricky_paths import BEGINNINGS, PATHS, Identity, build, identity, truth


def outsiders(place: Path) -> list[tuple[str, Identity, int, bytes]]:
    """All that is not the root's: names, identities, times of change, contents."""
    found = []
    for top in ("outside", "root-evil"):
        for path in sorted((place / top).rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path), identity(path), path.lstat().st_mtime_ns, content))
    return [*found, *((name, (0, 0), 0, b"") for name in sorted(os.listdir(place)))]


ACTIONS: list[dict[str, Any]] = [
    {"action": "cleanup", "pattern": "*", "recursive": True}, {"action": "compress", "remove_source": True},
    {"action": "backup"}, {"action": "backup", "compress": True, "format": "zip"}, {"action": "stat"},
]  # fmt: skip


@given(st.sampled_from(ACTIONS), BEGINNINGS, PATHS, BEGINNINGS, PATHS)
@settings(max_examples=100, deadline=None)
def test_no_action_touches_what_is_outside(
    place: Path, action: dict[str, Any], start: str, source: str, end: str, target: str
) -> None:
    root = build(place)
    before = outsiders(place)
    paths = {"path": f"{place}/{start}{source}"}
    if action["action"] in ("compress", "backup"):
        paths = {"source": f"{place}/{start}{source}", "target": f"{place}/{end}{target}"}
    runner = FileRunner([str(root)])
    try:
        runner.parse_args("", json.dumps(action | paths))
        result = runner.execute()
    except InvalidTask:
        result = None
    assert outsiders(place) == before
    if result is not None and action["action"] == "stat" and result.output:
        shown = {identity(entry["path"]) for entry in json.loads(result.output)["top_files"]}
        assert shown <= set(truth(root).values())
    if result is not None:
        assert result.end_reason is not EndReason.INTERNAL, result.error


def test_a_task_tells_what_it_did_and_how_long_it_took(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    logged: list[bytes] = []
    runner = FileRunner([str(tmp_path)])
    runner.parse_args("", json.dumps({"action": "stat", "path": str(tmp_path)}))
    result = runner.execute(ExecutionContext(log=logged.append))
    output = json.loads(result.output)
    assert (result.end_reason, output["total_files"], output["duration_ms"] >= 0) == (EndReason.COMPLETED, 1, True)
    assert logged == [f"[File] stat {tmp_path}\n".encode()]


def test_trouble_with_files_is_a_failure_in_the_systems_words(tmp_path: Path) -> None:
    runner = FileRunner([str(tmp_path)])
    runner.parse_args("", json.dumps({"action": "stat", "path": f"{tmp_path}/nothing"}))
    result = runner.execute()
    assert (result.end_reason, result.error) == (EndReason.FAILED, f"{tmp_path}/nothing: No such file or directory")


def test_a_stop_while_it_works_is_the_end_and_what_was_done_is_told(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    runner = FileRunner([str(tmp_path)])
    runner.parse_args("", json.dumps({"action": "cleanup", "path": str(tmp_path), "pattern": "*"}))
    result = runner.execute(ExecutionContext(log=lambda data: runner.stop() if b"deleted" in data else None))
    assert (result.end_reason, json.loads(result.output)["deleted_count"]) == (EndReason.STOPPED, 1)
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]


@pytest.mark.parametrize("key", ["path", "source", "target"])
def test_a_path_out_of_the_allowed_directories_is_refused_before_the_run(key: str, tmp_path: Path) -> None:
    good = {"action": "compress", "source": f"{tmp_path}/a", "target": f"{tmp_path}/b", "path": f"{tmp_path}/c"}
    with pytest.raises(InvalidTask, match=key):
        FileRunner([str(tmp_path)]).parse_args("", json.dumps(good | {key: "/srv/elsewhere"}))


def test_another_machine_needs_a_source_of_credentials(tmp_path: Path) -> None:
    runner = FileRunner([])
    args = {"action": "stat", "path": "/srv", "host": "127.0.0.1", "port": 1, "credential": "c"}
    runner.parse_args("", json.dumps(args))
    assert runner.execute().end_reason is EndReason.INVALID_TASK
