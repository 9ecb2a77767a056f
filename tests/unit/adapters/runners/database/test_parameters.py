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


def test_what_stands_in_quotes_or_comments_is_no_placeholder() -> None:
    sql = "SELECT '?', \"?\" /* ? */ FROM t WHERE a = ? -- ?"
    assert bind(sql, "sqlite", [1]) == (sql, (1,))


def test_a_percent_sign_is_not_the_drivers() -> None:
    assert bind("SELECT '5%' WHERE a LIKE ?", "mysql", ["x%"]) == ("SELECT '5%%' WHERE a LIKE %s", ("x%",))
    assert bind("SELECT '5%'", "mysql", None) == ("SELECT '5%'", None)


def test_lists_and_objects_go_as_json() -> None:
    assert bind("SELECT :a, :b", "sqlite", {"a": {"ü": 1}, "b": [1]})[1] == ('{"ü": 1}', "[1]")


@pytest.mark.parametrize("params", ["x", 7, True])
def test_other_forms_of_parameters_are_refused(params: object) -> None:
    with pytest.raises(InvalidTask, match="list or an object"):
        bind("SELECT ?", "mysql", params)


def test_placeholders_of_postgresql_are_counted_from_one() -> None:
    with pytest.raises(InvalidTask, match=r"\$1"):
        bind("SELECT $0", "postgresql", [1])
