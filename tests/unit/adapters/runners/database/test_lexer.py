"""SQL in pieces."""

from __future__ import annotations

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
