"""Puts a task's parameters into the style of the driver; what stands in quotes or comments is never touched."""

from __future__ import annotations

from typing import Any

from adapters.runners.database.lexer import pieces
from domain.errors import InvalidTask


def bind(sql: str, dialect: str, params: Any) -> tuple[str, tuple[Any, ...] | None]:
    """The text and the values for the driver; None where the task has no parameters.

    A list fills ``?`` (MySQL, SQLite) or ``$1`` (PostgreSQL); an object fills ``:name``. Raises InvalidTask where
    placeholders and values do not fit.
    """
    if params is None or params == [] or params == {}:
        return sql, None
    if not isinstance(params, (list, dict)):
        raise InvalidTask("params must be a list or an object")
    text: list[str] = []
    values: list[Any] = []
    used: set[Any] = set()
    for piece in pieces(sql, dialect):
        key = _key(piece.kind, piece.text, dialect, params, len(values))
        if key is None:
            text.append(piece.text if dialect == "sqlite" else piece.text.replace("%", "%%"))
            continue
        try:
            values.append(_plain(params[key]))
        except (KeyError, IndexError):
            raise InvalidTask(f"params: nothing is given for {piece.text}") from None
        used.add(key)
        text.append("?" if dialect == "sqlite" else "%s")
    unused = set(params) - used if isinstance(params, dict) else set(range(len(params))) - used
    if unused:
        raise InvalidTask(f"params: {len(unused)} of {len(params)} values have no placeholder in sql")
    return "".join(text), tuple(values)


def _key(kind: str, text: str, dialect: str, params: Any, count: int) -> Any:
    if isinstance(params, dict):
        return text[1:] if kind == "name" else None
    if kind != "number" or (text == "?") is (dialect == "postgresql"):
        return None
    number = count if text == "?" else int(text[1:]) - 1
    if number < 0:
        raise InvalidTask("params: placeholders are counted from $1")
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        import json

        return json.dumps(value, ensure_ascii=False)
    return value
