"""The name patterns of file tasks."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.file.pattern import compiled
from domain.errors import InvalidTask


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [("*.log", ("a.log", ".log", "a\n.log"), ("a.txt", "a.log1")), ("a?c", ("abc",), ("ac", "abbc")),
     ("[^a].log", ("b.log",), ("a.log", "^.log?")), ("[!a].log", ("b.log",), ("a.log",)),
     (r"[^\]a]*", ("b",), ("]", "a1")), (r"\*.log", ("*.log",), ("a.log",)), (r"[\^a]", ("^", "a"), ("b",)),
     ("[a-c]x[]]", ("bx]",), ("dx]",)), ("[a-]", ("-", "a"), ("b",)), ("a[.]b", ("a.b",), ("axb",))],
)  # fmt: skip
def test_a_pattern_means_what_it_means_to_a_shell(pattern: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    assert [bool(compiled(pattern).fullmatch(name)) for name in (*yes, *no)] == [True] * len(yes) + [False] * len(no)


@pytest.mark.parametrize("pattern", ["[a", "[", "[]", "[^]", "[z-a]", "a\\", "[a-", "[\\"])
def test_a_broken_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidTask, match="pattern"):
        compiled(pattern)


@given(st.text("ab*?[]!", max_size=8), st.text("ab]!\n", max_size=8))
def test_without_carets_and_quotes_it_is_what_fnmatch_says(pattern: str, name: str) -> None:
    try:
        chosen = compiled(pattern)
    except InvalidTask:
        return
    assert bool(chosen.fullmatch(name)) is fnmatch.fnmatchcase(name, pattern)


def test_many_stars_cost_no_time() -> None:
    assert not compiled("*a" * 60 + "b").fullmatch("a" * 255)
