"""Standard error, written by a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from adapters.observability import line_writer
from adapters.observability.line_writer import LineWriter


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.writer = LineWriter(self.writing)

    def read_rest(self) -> str:
        """All that is written until the writer is closed."""
        self.writer.close()
        os.close(self.writing)
        with open(self.reading, "rb", closefd=False) as file:
            return file.read().decode()

    def end(self) -> None:
        for descriptor in (self.reading, self.writing):
            try:
                os.close(descriptor)
            except OSError:
                pass


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.writer.close()
    made.end()


def test_lines_come_out_in_order_and_whole(pipe: Pipe) -> None:
    lines = [f"line {number} \u65e5\n" for number in range(500)]
    for line in lines:
        pipe.writer.write(line)
        pipe.writer.flush()
    assert pipe.read_rest() == "".join(lines)
    pipe.writer.close()


def test_what_is_no_text_is_shown_as_an_escape(pipe: Pipe) -> None:
    pipe.writer.write("a\ud800b\n")
    assert pipe.read_rest() == "a\\ud800b\n"


def test_a_descriptor_that_does_not_wait_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    text = "x" * 1_000_000
    pipe.writer.write(text)
    found = b""
    while len(found) < len(text):
        found += os.read(pipe.reading, 65_536)
    assert found == text.encode()


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    os.close(pipe.reading)
    pipe.writer.write("lost\n")
    pipe.writer.write("lost\n")
    pipe.writer.close()
    assert not pipe.writer._thread.is_alive()


def test_nobody_waits_for_a_reader_and_what_was_dropped_is_counted_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(line_writer, "LINES", 8)
    pipe = Pipe()
    pipe.writer.write("x" * 200_000)  # more than the pipe holds
    while not pipe.writer._lines.empty():
        pipe.writer._thread.join(0.001)
    for _ in range(11):
        pipe.writer.write("line\n")
    with caplog.at_level("WARNING", "worker"):
        found = b""
        while found.count(b"line\n") < 8:
            found += os.read(pipe.reading, 65_536)
        pipe.writer.close()
    pipe.end()
    assert [record.getMessage() for record in caplog.records] == [
        "3 lines of this log are missing: nobody read them in time"
    ]
