"""The documents are whole: they name what there is, and every code that is cited is defined, once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
SOURCES = [
    path for top in ("domain", "application", "adapters", "tests") for path in sorted((ROOT / top).rglob("*.py"))
]
# The defects of the original worker, by section of docs/differences.md: the letters of their codes, and how many there are.
DEFECTS = {"all task types": ("T", 12), "command": ("C", 13), "script": ("S", 9), "http": ("H", 10),
           "message": ("M", 11), "database": ("D", 12), "file": ("F", 13), "git": ("GIT", 11), "container": ("K", 13),
           "approval": ("A", 6)}  # fmt: skip
CODE = re.compile(r"\b(?:GIT|[CSHMDFKATG])[1-9]\d?\b")
TEST = re.compile(r"`(test_\w+)`")


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.*)$", (ROOT / "docs" / "differences.md").read_text(), flags=re.MULTILINE)
    return dict(zip((title.lower() for title in parts[1::2]), parts[2::2], strict=True))


def rows(section: str) -> list[tuple[set[str], list[str], str]]:
    """Of each row of a section's tables that names codes or tests: both, and the whole row."""
    found = []
    for line in sections()[section].splitlines():
        if line.startswith("| "):
            codes = {
                code for code in CODE.findall(line.rsplit("|", 2)[0]) if not code.startswith("G") or code[:3] == "GIT"
            }
            found.append((codes, TEST.findall(line), line))
    return [row for row in found if row[0] or row[1]]


def known_tests() -> dict[str, str]:
    """Every test by its name: its decorators, its comments and its text, as far as the next one."""
    found: dict[str, str] = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        for part in re.split(r"\n(?=@|def )", file.read_text()):
            if match := re.search(r"^def (test_\w+)\(", part, re.MULTILINE):
                found[match[1]] = part
    return found


def guarantees() -> list[str]:
    """The codes that docs/guarantees.md defines."""
    return re.findall(r"^\| (G\d+) \| \w", (ROOT / "docs" / "guarantees.md").read_text(), re.MULTILINE)


def test_every_test_that_a_document_names_exists() -> None:
    known = known_tests()
    lost = [(path.name, name) for path in DOCUMENTS for name in TEST.findall(path.read_text()) if name not in known]
    assert lost == []


def test_every_file_that_a_document_links_to_exists() -> None:
    lost = [
        (path.name, target)
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text())
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert lost == []


def test_the_index_names_every_document() -> None:
    named = set(re.findall(r"\]\(([\w/.-]+\.md)\)", (ROOT / "docs" / "README.md").read_text()))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert named & there == there - {
        name for name in there if name.startswith("runners/") and name != "runners/README.md"
    }


def test_the_index_of_the_runners_names_every_page() -> None:
    pages = {path.name for path in (ROOT / "docs" / "runners").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\((\w+\.md)\)", (ROOT / "docs" / "runners" / "README.md").read_text()))


@pytest.mark.parametrize("section", DEFECTS)
def test_a_section_tells_of_each_defect_of_its_own_and_of_no_other(section: str) -> None:
    front, last = DEFECTS[section]
    told = set().union(*(codes for codes, _, _ in rows(section)))
    assert told == {f"{front}{number}" for number in range(1, last + 1)}


@pytest.mark.parametrize("section", DEFECTS)
def test_each_defect_has_a_test_that_cites_it_or_a_reason(section: str) -> None:
    known = known_tests()
    lacking = [
        f"{code}: {named}"
        for codes, named, line in rows(section)
        for code in sorted(codes)
        if not any(re.search(rf"\b{code}\b", known.get(name, "")) for name in named) and "not fixed" not in line
    ]
    assert lacking == []


def test_a_guarantee_is_defined_once() -> None:
    codes = guarantees()
    twice = {code for code in codes if codes.count(code) > 1}
    assert twice == set()


def test_every_code_that_code_and_tests_cite_is_defined() -> None:
    defined = {f"{front}{number}" for front, last in DEFECTS.values() for number in range(1, last + 1)} | set(
        guarantees()
    )
    cited = {
        (code, str(path.relative_to(ROOT)))
        for path in SOURCES
        for code in _cited(path.read_text())
        if path != Path(__file__)
    }
    assert sorted((code, path) for code, path in cited if code not in defined) == []


def _cited(text: str) -> set[str]:
    """Codes in comments, docstrings and names of torture rows; each G, and others where they stand as a citation does."""
    found = set(re.findall(r"\bG[1-9]\d*\b", text))
    for comment in re.findall(r"#\s*(.*)$|\"\"\"(.*?)\"\"\"", text, re.MULTILINE | re.DOTALL):
        found |= set(CODE.findall(" ".join(comment)))
    return found
