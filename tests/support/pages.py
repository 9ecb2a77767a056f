"""Pages that hold a whole package, file by file: a file's name in a line of its own, and its text in the block below."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def files_of(page: str) -> dict[str, str]:
    """The files of docs/``page``.md by their paths."""
    return dict(_FILE.findall((ROOT / "docs" / f"{page}.md").read_text("utf-8")))


def write_package(page: str, directory: Path) -> Path:
    """Make the package that the page tells how to make."""
    files = files_of(page)
    for name in [name for name in files if name.startswith("src/")]:
        files |= {str(Path(name).parent / it): "" for it in ("__init__.py", "py.typed")}
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return directory
