"""Of which kind a statement is, and which ones are refused (D7)."""

from __future__ import annotations

import pytest

from adapters.runners.database.classify import classify
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
