"""Parameters in the style of the drivers (D5)."""

from __future__ import annotations

import pytest

from adapters.runners.database.parameters import bind
from domain.errors import InvalidTask


def test_placeholders_without_a_value_and_values_without_a_placeholder_are_told() -> None:
    for sql, params in (("SELECT ?", [1, 2]), ("SELECT ?, ?", [1]), ("SELECT :a", {"b": 1}), ("SELECT 1", [1])):
        with pytest.raises(InvalidTask):
            bind(sql, "mysql", params)


def test_a_repeated_number_is_filled_twice_and_a_cast_is_no_name() -> None:
    assert bind("SELECT $2::int, $1, $2", "postgresql", [1, 2]) == ("SELECT %s::int, %s, %s", (2, 1, 2))
