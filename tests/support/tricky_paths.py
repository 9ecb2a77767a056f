"""A root with links out of it, and paths that try to lead there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hypothesis import strategies as st

Identity = tuple[int, int]
NAMES = ["a", "b c", "ü", "x.log", "link-in", "link-out", "link-up", "missing", "..", ".", "", "*"]
TRICKS = [
    "link-out/x.log", "link-out/a", "link-up/outside/x.log", "link-up/root/a", "link-root/etc/passwd", "link-in/../a",
    "../outside/x.log", "../root-evil/x.log", "../root/a", "a//x.log",
]  # fmt: skip
PATHS = st.lists(st.sampled_from(NAMES) | st.sampled_from(TRICKS), max_size=5).map("/".join)
BEGINNINGS = st.sampled_from(["root/", "root", "//root/", "root-evil/", "outside/", "./root/", "outside/../root/"])


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
