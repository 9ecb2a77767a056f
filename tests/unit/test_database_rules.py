"""What database tasks may say (7.5, D4, D5, D7)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.database import DatabaseRunner
from adapters.runners.database.classify import classify
from adapters.runners.database.lexer import pieces
from adapters.runners.database.parameters import bind
from adapters.runners.database.redis import check
from domain.errors import InvalidTask


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("select 1;", "DQL"), ("-- note\n(SELECT 1)", "DQL"), ("SHOW TABLES", "DQL"), ("desc t", "DQL"),
        ("REPLACE INTO t VALUES (1)", "DML"), ("CALL p(1)", "DML"), ("EXPLAIN ANALYZE DELETE FROM t", "DML"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "DQL"), ("TRUNCATE t", "DDL"), ("OPTIMIZE TABLE t", "MAINTENANCE"),
        ("SELECT 'a; GRANT b'", "DQL"), ("WITH a AS (SELECT 1) DELETE FROM t", "DML"),
    ],
)  # fmt: skip
def test_statements_have_the_kind_that_a_parser_sees(sql: str, kind: str) -> None:  # D7
    assert classify(sql, "mysql").kind == kind


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgresql", "SELECT 1; GRANT ALL ON t TO x"), ("postgresql", "/* a /* b */ c */ GRANT ALL ON t TO x"),
        ("postgresql", "COPY t TO PROGRAM 'id'"), ("postgresql", "SELECT 1; COPY t TO PROGRAM 'id'"),
        ("mysql", "SELECT 1 INTO OUTFILE '/tmp/x'"), ("mysql", "LOAD DATA INFILE 'x' INTO TABLE t"),
        ("mysql", "SELECT 1 /*!50000 INTO OUTFILE '/tmp/x' */"), ("mysql", "revoke all on t from x"),
        ("postgresql", "SELECT \"pg_read_file\"('/etc/passwd')"), ("postgresql", "DO $$ BEGIN GRANT a TO b; END $$"),
        ("postgresql", "ALTER ROLE x SUPERUSER"), ("mysql", "CREATE PROCEDURE p() GRANT ALL ON *.* TO x"),
        ("sqlite", "ATTACH 'x' AS y"), ("mysql", "SET GLOBAL general_log = 1"), ("mysql", "-- only"),
        ("mysql", "'open"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_wherever_it_hides(dialect: str, sql: str) -> None:
    with pytest.raises(InvalidTask):
        classify(sql, dialect)


@given(st.sampled_from(["mysql", "postgresql", "sqlite"]), st.text(alphabet="ab?$1:%'\"`\\;-/* \n#[]"))
def test_splitting_loses_no_character(dialect: str, sql: str) -> None:
    try:
        found = list(pieces(sql, dialect))
    except InvalidTask:
        return
    assert "".join(piece.text for piece in found) == sql


def test_placeholders_without_a_value_and_values_without_a_placeholder_are_told() -> None:
    for sql, params in (("SELECT ?", [1, 2]), ("SELECT ?, ?", [1]), ("SELECT :a", {"b": 1}), ("SELECT 1", [1])):
        with pytest.raises(InvalidTask):
            bind(sql, "mysql", params)


def test_a_repeated_number_is_filled_twice_and_a_cast_is_no_name() -> None:
    assert bind("SELECT $2::int, $1, $2", "postgresql", [1, 2]) == ("SELECT %s::int, %s, %s", (2, 1, 2))


@pytest.mark.parametrize(
    "words",
    [("EXPIRE", "k", "abc"), ("EXPIRE", "k", "10abc"), ("SET", "k", "v", "EX", "x"), ("SET", "k", "v", "EX"),
     ("LRANGE", "k", "a", "1"), ("SCAN", "0", "COUNT"), ("SCAN", "x"), ("CONFIG", "GET", "*"), ("GET",)],
)  # fmt: skip
def test_redis_arguments_that_do_not_fit_are_refused(words: tuple[str, ...]) -> None:
    """D4: a wrong number must not become 0."""
    with pytest.raises(InvalidTask):
        check(words[0], list(words[1:]))


@pytest.mark.parametrize("change", [{"db_type": "MySQL"}, {"max_rows": 100001}, {"credential_id": ""}, {"tls": "yes"}])
def test_arguments_are_checked_before_anything_happens(change: dict[str, object]) -> None:
    good = {"db_type": "mysql", "credential_id": "1", "host": "h", "database": "d", "sql": "SELECT 1"}
    with pytest.raises(InvalidTask):
        DatabaseRunner().parse_args("", json.dumps(good | change))
