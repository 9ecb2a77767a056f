"""Splits SQL into literals, comments, words and the rest, so that rules never look at text inside quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from domain.errors import InvalidTask

_DOUBLED = {quote: rf"{quote}(?:[^{quote}]|{quote}{quote})*{quote}" for quote in "'\"`"}
_ESCAPED = {quote: rf"{quote}(?:[^{quote}\\]|\\.|{quote}{quote})*{quote}" for quote in "'\"`"}
_DIALECTS = {
    "mysql": [
        ("comment", r"--(?=\s|$)[^\n]*|\#[^\n]*"),
        ("literal", "|".join((_ESCAPED["'"], _ESCAPED['"'], _DOUBLED["`"]))),
    ],
    "postgresql": [
        ("comment", r"--[^\n]*"),
        ("literal", "|".join((rf"[eE]{_ESCAPED[chr(39)]}", _DOUBLED["'"], _DOUBLED['"']))),
        ("literal", r"\$(?P<tag>[^\W\d]\w*|)\$.*?\$(?P=tag)\$"),
    ],
    "sqlite": [("comment", r"--[^\n]*"), ("literal", "|".join(_DOUBLED.values()) + r"|\[[^\]]*\]")],
}
_COMMON = [("cast", "::"), ("number", r"\$\d+|\?"), ("name", r":[^\W\d]\w*"), ("word", r"[^\W\d][\w$]*"), ("end", ";")]
_SCANNERS = {
    dialect: [(kind, re.compile(pattern, re.DOTALL)) for kind, pattern in (*own, *_COMMON)]
    for dialect, own in _DIALECTS.items()
}
_RUN = re.compile(r"\s+|\d\w*")


@dataclass(frozen=True, slots=True)
class Piece:
    kind: str  # comment, literal, cast, number, name, word, end, other
    text: str


def pieces(sql: str, dialect: str) -> Iterator[Piece]:
    """All of the text, in order. Raises InvalidTask for an open quote or comment, and for an executable comment."""
    at = 0
    while at < len(sql):
        if sql.startswith("/*", at):
            end = _comment_end(sql, at, nested=dialect == "postgresql")
            if dialect == "mysql" and re.match(r"/\*M?!", sql[at:]):
                raise InvalidTask("sql: a comment that the server executes (/*! ... */) is not allowed")
            yield Piece("comment", sql[at:end])
            at = end
            continue
        for kind, scanner in _SCANNERS[dialect]:
            if found := scanner.match(sql, at):
                yield Piece(kind, found.group())
                at = found.end()
                break
        else:
            if sql[at] in "'\"`" and not (sql[at] == "`" and dialect == "postgresql"):
                raise InvalidTask(f"sql: the quote {sql[at]} at character {at + 1} is never closed")
            step = _RUN.match(sql, at)
            end = step.end() if step else at + 1
            yield Piece("other", sql[at:end])
            at = end


def _comment_end(sql: str, at: int, *, nested: bool) -> int:
    depth = 0
    for mark in re.finditer(r"/\*|\*/", sql[at:]):
        if mark.group() == "/*":
            depth = depth + 1 if nested else 1
        else:
            depth -= 1
            if depth == 0:
                return at + mark.end()
    raise InvalidTask("sql: a comment is never closed")
