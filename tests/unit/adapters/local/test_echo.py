"""The output of tasks in the worker's own log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.local.echo import LONGEST, Echo
from adapters.local.store import Run

RUN = Run("id", "job", "job-1", 0.0, "running", "w", 0, "", None)


@pytest.fixture
def shown() -> Iterator[list[tuple[str, str]]]:
    """The lines in the log, each with the id of its task."""
    lines: list[tuple[str, str]] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert getattr(record, "task_name", "") == "job-1"
            lines.append((getattr(record, "task", ""), record.getMessage()))

    logger, note = logging.getLogger("worker.output"), Note()
    level = logger.level
    logger.addHandler(note)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(note)
    logger.setLevel(level)


def texts(shown: list[tuple[str, str]]) -> list[str]:
    return [text for _, text in shown]


def test_a_line_waits_for_its_end_and_those_of_two_runs_do_not_mix(shown: list[tuple[str, str]]) -> None:
    echo, other = Echo(), replace(RUN, id="other")
    echo.show(RUN, "one\ntw")
    echo.show(other, "x")
    echo.show(RUN, "o\n")
    echo.show(other, "y\n")
    assert shown == [("id", "| one"), ("id", "| two"), ("other", "| xy")]


def test_what_has_no_end_is_shown_when_the_run_is_over_and_once(shown: list[tuple[str, str]]) -> None:
    echo = Echo()
    echo.show(RUN, "last")
    echo.end(RUN)
    echo.end(RUN)
    echo.show(replace(RUN, ended=1.0), "late")
    assert texts(shown) == ["| last", "| late"]


def test_a_line_that_never_ends_is_shown_piece_by_piece(shown: list[tuple[str, str]]) -> None:
    echo = Echo()
    echo.show(RUN, "x" * LONGEST)
    assert shown == []
    echo.show(RUN, "y")
    assert texts(shown) == ["| " + "x" * LONGEST + "y"]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        (["1%\r2%\r3%\n"], ["| 3%"]),
        (["1%\r", "2%\r", "3%\r", "\n"], ["| 3%"]),
        (["done\r\n"], ["| done"]),
        (["done\r", "\n"], ["| done"]),
        (["1%\r"], ["| 1%"]),
        (["\n\n"], ["| ", "| "]),
        ([""], []),
        (["a\x0bb\u2028c\n"], ["| a\x0bb\u2028c"]),
    ],
)
def test_of_a_line_that_is_written_over_the_last_state_counts(
    shown: list[tuple[str, str]], pieces: list[str], lines: list[str]
) -> None:
    echo = Echo()
    for piece in pieces:
        echo.show(RUN, piece)
    echo.end(RUN)
    assert texts(shown) == lines
