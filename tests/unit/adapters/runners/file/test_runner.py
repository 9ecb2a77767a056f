"""File tasks as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.runners.file.runner import FileRunner
from domain.errors import InvalidTask
from domain.result import EndReason
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
