"""Where file tasks may go, against the truth of the file system: (device, inode) instead of names (G70, 8.5)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.runners.file.ports import FileTrouble
from adapters.runners.file.runner import FileRunner
from adapters.runners.file.walk import Policy, look
from domain.errors import InvalidTask
from domain.result import EndReason

Identity = tuple[int, int]
NAMES = ["a", "b c", "ü", "x.log", "link-in", "link-out", "link-up", "missing", "..", ".", "", "*"]
TRICKS = [
    "link-out/x.log", "link-out/a", "link-up/outside/x.log", "link-up/root/a", "link-root/etc/passwd", "link-in/../a",
    "../outside/x.log", "../root-evil/x.log", "../root/a", "a//x.log",
]  # fmt: skip
PATHS = st.lists(st.sampled_from(NAMES) | st.sampled_from(TRICKS), max_size=5).map("/".join)
BEGINNINGS = st.sampled_from(["root/", "root", "//root/", "root-evil/", "outside/", "./root/", "outside/../root/"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("paths").resolve()
    yield made
    shutil.rmtree(made)


def build(place: Path) -> Path:
    """A root with links out of it, into it and upwards, and neighbours that no task may touch."""
    for name in os.listdir(place):
        shutil.rmtree(place / name)
    root, outside = place / "root", place / "outside"
    for directory in (root / "a" / "ü", root / "b c", root / "ü", outside / "a", place / "root-evil" / "a"):
        directory.mkdir(parents=True)
    for directory in (root, root / "a", root / "ü", outside, outside / "a", place / "root-evil"):
        (directory / "x.log").write_text(str(directory))
    for directory in (root, root / "a"):
        (directory / "link-in").symlink_to(root / "b c")
        (directory / "link-out").symlink_to(outside)
        (directory / "link-up").symlink_to("..")
        (directory / "link-root").symlink_to("/")
    return root


def identity(path: str | Path) -> Identity:
    info = os.lstat(path)
    return info.st_dev, info.st_ino


def truth(root: Path) -> dict[str, Identity]:
    """Every path that stands below the root without a link on the way, and what it is."""
    found = {str(root): identity(root)}
    for folder, directories, files in os.walk(root):  # follows no link
        found |= {os.path.join(folder, name): identity(os.path.join(folder, name)) for name in [*directories, *files]}
    return found


def plainly(text: str) -> str:
    """Dots and double slashes taken out by hand, name by name."""
    kept: list[str] = []
    for name in text.split("/"):
        if name == "..":
            kept = kept[:-1]
        elif name not in ("", "."):
            kept.append(name)
    return "/" + "/".join(kept)


def reached(policy: Policy, text: str) -> Identity | None:
    try:
        info = look(policy.check(text, "path"))
    except (InvalidTask, FileTrouble):
        return None
    return info.st_dev, info.st_ino


@given(BEGINNINGS, PATHS)
@settings(max_examples=300, deadline=None)
def test_a_path_leads_where_it_says_or_nowhere(place: Path, beginning: str, rest: str) -> None:
    root = place / "root" if (place / "root").exists() else build(place)
    text = f"{place}/{beginning}{rest}"
    assert reached(Policy((str(root),)), text) == truth(root).get(plainly(text))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_text_leads_out_of_the_root(place: Path, text: str) -> None:
    root = place / "root" if (place / "root").exists() else build(place)
    allowed = set(truth(root).values())
    for whole in (text, f"{root}{text}", f"{root}/{text}", f"{root}/../{text}"):
        assert reached(Policy((str(root),)), whole) in allowed | {None}


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
