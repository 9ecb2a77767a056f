"""SQL in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.database.lexer import pieces
from domain.errors import InvalidTask


@given(st.sampled_from(["mysql", "postgresql", "sqlite"]), st.text(alphabet="ab?$1:%'\"`\\;-/* \n#[]"))
def test_splitting_loses_no_character(dialect: str, sql: str) -> None:
    try:
        found = list(pieces(sql, dialect))
    except InvalidTask:
        return
    assert "".join(piece.text for piece in found) == sql


@pytest.mark.parametrize(
    ("dialect", "sql", "kinds"),
    [
        ("mysql", "a -- c\nb # d", ["word", "other", "comment", "other", "word", "other", "comment"]),
        ("postgresql", "$tag$ it's ; $tag$;", ["literal", "end"]),
        ("postgresql", "/* a /* b */ c */x", ["comment", "word"]),
        ("mysql", "/* a /* b */x", ["comment", "word"]),
        ("mysql", r"'a\'b'x", ["literal", "word"]),
        ("postgresql", r"E'a\'b'", ["literal"]),
        ("sqlite", "[a;b];", ["literal", "end"]),
        ("postgresql", "a::int", ["word", "cast", "word"]),
        ("sqlite", ":name ?", ["name", "other", "number"]),
    ],
)
def test_each_dialect_is_read_as_its_server_reads_it(dialect: str, sql: str, kinds: list[str]) -> None:
    assert [piece.kind for piece in pieces(sql, dialect)] == kinds


@pytest.mark.parametrize(
    ("dialect", "sql", "told"),
    [
        ("mysql", "SELECT 'a", "character 8 is never closed"), ("postgresql", "/* /* */", "comment is never closed"),
        ("mysql", "/*!50000 x */", "server executes"), ("mysql", "/*M! x */", "server executes"),
    ],
)  # fmt: skip
def test_what_is_open_or_executed_in_secret_is_refused(dialect: str, sql: str, told: str) -> None:
    with pytest.raises(InvalidTask, match=told):
        list(pieces(sql, dialect))


def test_a_comment_that_only_mysql_executes_is_one_elsewhere() -> None:
    assert [piece.kind for piece in pieces("/*! x */", "sqlite")] == ["comment"]
