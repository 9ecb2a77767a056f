"""Where file tasks may go, against the truth of the file system: (device, inode) instead of names (G70, 8.5)."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.runners.file.ports import FileTrouble
from adapters.runners.file.walk import Policy, look
from domain.errors import InvalidTask
from tests.support.tricky_paths import BEGINNINGS, PATHS, Identity, build, truth


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
