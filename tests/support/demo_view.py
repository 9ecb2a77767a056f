"""What the demo prints: aligned rows, cut to the terminal's width, coloured on a terminal only."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

LABEL = 11  # columns of a label with its blanks
SHOWN = 8  # lines of a log
COLOURS = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}


@dataclass(frozen=True, slots=True)
class Ended:
    """One task as it ended; ``problem`` is empty where that was expected."""

    row: dict[str, Any]
    status: str
    output: str
    log: str
    peer: str
    problem: str


@dataclass
class View:
    """Writes to ``out``. Not thread-safe."""

    out: TextIO
    colours: bool = field(init=False)
    width: int = field(init=False)

    def __post_init__(self) -> None:
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self.colours = self.out.isatty() and not plain
        self.width = max(60, min(shutil.get_terminal_size((120, 24)).columns, 140))

    def line(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    def paint(self, text: str, *how: str) -> str:
        codes = ";".join(COLOURS[one] for one in how)
        return f"\033[{codes}m{text}\033[0m" if self.colours and how else text

    def note(self, label: str, text: str) -> None:
        """One labelled line, cut at the width."""
        self.line(self.paint(f"{label:<{LABEL}}", "dim") + cut(printable(text), self.width - LABEL))

    def task(self, number: int, ended: Ended) -> None:
        """One task: what it was, what it logged, how it ended, who answered."""
        colour = "red" if ended.problem else "yellow" if ended.status == "failed" else "green"
        expected = f"not as expected: {ended.problem}" if ended.problem else "as expected"
        title = f"{number:>2} {ended.row['category']:<10} "
        self.line()
        self.line(self.paint(title, "bold") + self.paint(f"{ended.status:<9}", "bold", colour) + expected)
        self._block("task", [cut(definition(ended.row), self.width - LABEL)])
        lines = printable(ended.log).rstrip().split("\n")
        kept = lines[:SHOWN] + ([f"... {len(lines) - SHOWN} more lines"] if len(lines) > SHOWN else [])
        self._block("log", [piece for text in kept for piece in wrapped(text, self.width - LABEL)])
        self._block("output", list(wrapped(printable(ended.output), self.width - LABEL)))
        self._block("peer", list(wrapped(printable(ended.peer), self.width - LABEL)))

    def table(self, ends: Sequence[Ended]) -> None:
        """One row for each task, columns aligned."""
        heads = ("category", "status", "expected", "peer")
        rows = [
            (one.row["category"], one.status, "no" if one.problem else "yes", one.peer.partition(":")[0])
            for one in ends
        ]
        widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
        self.line()
        for row in (heads, *rows):
            text = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            self.line(self.paint(text, "dim") if row is heads else self.paint(text, *["red"] * (row[2] == "no")))

    def _block(self, label: str, lines: Sequence[str]) -> None:
        for at, text in enumerate(lines or [""]):
            self.line((self.paint(f"   {'' if at else label:<{LABEL - 3}}", "dim") + text).rstrip())


def definition(row: dict[str, Any]) -> str:
    """A task in one line: what a person would write into the server."""
    parts = {"command": row["command"]} if row["command"] != row["category"] else {}
    extra = row["metadata"] or {}
    text = [f"{key}: {value}" for key, value in parts.items()] + ([f"args: {row['args']}"] if row["args"] else [])
    text += [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in extra.items()]
    return printable("; ".join(text))


def printable(text: str) -> str:
    """Without control characters, which could steer the terminal; line ends stay."""
    return "".join(sign if sign == "\n" or sign.isprintable() else "?" for sign in text.replace("\t", " "))


def columns(sign: str) -> int:
    return 0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def wrapped(text: str, width: int) -> Iterator[str]:
    """The text in pieces of at most ``width`` columns, broken behind a blank or a comma where there is one."""
    rest = text
    while True:
        used = end = 0
        while end < len(rest) and used + columns(rest[end]) <= width:
            used += columns(rest[end])
            end += 1
        if end == len(rest):
            yield rest
            return
        soft = max(rest.rfind(" ", 0, end), rest.rfind(",", 0, end)) + 1
        end = soft if soft > end // 2 else max(end, 1)
        yield rest[:end].rstrip()
        rest = rest[end:]


def cut(text: str, width: int) -> str:
    """The first piece, with dots where there is more."""
    line = text.replace("\n", " ")
    if sum(map(columns, line)) <= width:
        return line
    used = 0
    for at, sign in enumerate(line):
        used += columns(sign)
        if used > width - 3:
            return line[:at] + "..."
    return line
