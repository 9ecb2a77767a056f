"""What kind of statement a text is, and which ones are refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters.runners.database.lexer import Piece, pieces
from domain.errors import InvalidTask, MissingExtra

FIRST_WORDS = {
    "DQL": ("SELECT", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "VALUES", "TABLE"),
    "DML": ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "CALL"),
    "DDL": ("CREATE", "DROP", "ALTER", "TRUNCATE"),
    "MAINTENANCE": ("OPTIMIZE", "VACUUM", "ANALYZE", "REINDEX"),
}
KINDS = {word: kind for kind, words in FIRST_WORDS.items() for word in words}
REFUSED = {
    "GRANT": "changes privileges",
    "REVOKE": "changes privileges",
    "OUTFILE": "writes files on the server",
    "DUMPFILE": "writes files on the server",
    "LOAD_FILE": "reads files of the server",
    "LOAD_EXTENSION": "loads code into the server",
    "PG_READ_FILE": "reads files of the server",
    "PG_READ_BINARY_FILE": "reads files of the server",
    "PG_LS_DIR": "reads files of the server",
    "LO_IMPORT": "reads files of the server",
    "LO_EXPORT": "writes files on the server",
}
ROUTINES = {"PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"}
CHANGES = {"INSERT", "UPDATE", "DELETE", "MERGE"}
GLOT = {"mysql": "mysql", "postgresql": "postgres", "sqlite": "sqlite"}


@dataclass(frozen=True, slots=True)
class Statement:
    """``kind`` is DQL, DML, DDL or MAINTENANCE.

    ``streams``: a plain query, which a cursor on the server may run. ``changes``: executing it again is not the same.
    """

    kind: str
    text: str
    streams: bool
    changes: bool = True


def classify(sql: str, dialect: str) -> Statement:
    """Raises InvalidTask for more than one statement, a refused one, or one of no known kind."""
    code = [piece for piece in pieces(sql, dialect) if piece.kind != "comment" and piece.text.strip()]
    while code and code[-1].kind == "end":
        code.pop()
    words = [piece.text.upper() for piece in code if piece.kind == "word"]
    if not words:
        raise InvalidTask("sql holds no statement")
    _refuse(code, words, sql)
    routine = words[0] == "CREATE" and bool(ROUTINES & set(words[:8]))
    if any(piece.kind == "end" for piece in code) and not routine:
        raise InvalidTask("sql holds several statements: give each its own task")
    first = words[0]
    if first == "WITH":
        return _common_table(sql, dialect, words)
    if first not in KINDS:
        raise InvalidTask(f"sql: statements that begin with {first} are not supported")
    kind = KINDS[first]
    if first == "EXPLAIN" and "ANALYZE" in words and CHANGES & set(words):
        kind = "DML"  # it really executes the change
    streams = first in ("SELECT", "VALUES") and "INTO" not in words
    return Statement(kind, sql, streams, changes=kind != "DQL" or "INTO" in words)


def _refuse(code: list[Piece], words: list[str], sql: str) -> None:
    # In quotes PostgreSQL still calls the function "pg_read_file".
    for piece in code:
        name = piece.text.strip('"`[]').upper()
        if (
            name in REFUSED
            and (piece.kind == "word" or piece.text[0] in '"`[')
            and (piece.kind == "word" or "_" in name)
        ):
            raise InvalidTask(f"sql: {name} is not allowed: it {REFUSED[name]}")
    if words[0] in ("CREATE", "ALTER") and {"ROLE", "USER", "GROUP"} & set(words[1:4]):
        raise InvalidTask("sql: creating or altering users and roles is not allowed: it changes privileges")
    if words[0] == "CREATE" and ROUTINES & set(words[:8]) and re.search(r"\b(grant|revoke)\b", sql, re.IGNORECASE):
        raise InvalidTask("sql: GRANT and REVOKE are not allowed, nor inside a routine")


def _common_table(sql: str, dialect: str, words: list[str]) -> Statement:
    try:
        import sqlglot
        from sqlglot import exp
    except ImportError:
        raise MissingExtra("a database task", "sql") from None
    try:
        parsed = [tree for tree in sqlglot.parse(sql, read=GLOT[dialect]) if tree is not None]
    except sqlglot.errors.SqlglotError:
        raise InvalidTask("sql: this WITH statement could not be parsed") from None
    if len(parsed) != 1:
        raise InvalidTask("sql holds several statements: give each its own task")
    if isinstance(parsed[0], exp.Query) and not CHANGES & set(words):
        return Statement("DQL", sql, "INTO" not in words, changes="INTO" in words)
    return Statement("DQL" if isinstance(parsed[0], exp.Query) else "DML", sql, streams=False)
