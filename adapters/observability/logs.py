"""The worker's own log: one event is one line, readable on a terminal, JSON elsewhere, without secrets (G63, G81)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from adapters.observability.line_writer import LineWriter
from adapters.observability.log_file import PrivateFile
from adapters.observability.redact import Redactor
from domain.errors import ConfigError

# Control characters, line separators, bidirectional overrides: they could forge or hide lines.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
COLOURS = {"DEBUG": "\x1b[2m", "WARN": "\x1b[33m", "ERROR": "\x1b[31m", "FATAL": "\x1b[1;31m"}
NAMES = 10_000  # how many tasks' names are remembered
LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}


def inert(text: str) -> str:
    """The text on one line, with everything a terminal could act on shown as an escape."""
    return UNSAFE.sub(lambda match: _escape(match.group()), text)


def _escape(character: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": " "}.get(character, f"\\u{ord(character):04x}")


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def parts(self, record: logging.LogRecord) -> tuple[str, str]:
        """Message and traceback, both without secrets."""
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001 - logging would print the bare arguments to standard error
            message = f"{record.msg} (cannot be formatted: {type(error).__name__})"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return self._redactor.text(message), self._redactor.text(trace)


class TextFormatter(_Formatter):
    def __init__(self, redactor: Redactor, colour: bool) -> None:
        super().__init__(redactor)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        message, trace = self.parts(record)
        task, name = getattr(record, "task", ""), getattr(record, "task_name", "")
        name = self._redactor.text(str(name))
        task = inert(task)[:8]
        who = f" [{inert(name)[:60]} {task}]" if name else f" [{task}]" if task else ""
        stamp = datetime.fromtimestamp(record.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        line = f"{stamp} {record.levelname:<5}{who} {inert(message)}"
        if trace:
            line += "".join(f"\n    {inert(part)}" for part in trace.splitlines())
        colour = COLOURS.get(record.levelname, "") if self._colour else ""
        return f"{colour}{line}\x1b[0m" if colour else line


class JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message, trace = self.parts(record)
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
        }
        for key in ("task", "task_name"):
            if value := getattr(record, key, ""):
                document[key] = self._redactor.text(str(value))
        if trace:
            document["traceback"] = trace
        return json.dumps(document, ensure_ascii=True).replace("\x7f", "\\u007f")  # the one that JSON leaves


class _Names(logging.Filter):
    """Gives a line that knows only a task's id the name that an earlier line told. Any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, str] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        task, name = getattr(record, "task", ""), getattr(record, "task_name", "")
        if task and name:
            if len(self._known) > NAMES:
                self._known = {}
            self._known[task] = name
        elif task:
            record.task_name = self._known.get(task, "")
        return True


class _StandardError(logging.StreamHandler[LineWriter]):
    def __init__(self) -> None:
        super().__init__(LineWriter(sys.stderr.fileno()))

    def close(self) -> None:
        """Also called at the end of the program, by the library."""
        self.stream.close()
        super().close()


def set_up(
    redactor: Redactor,
    level: str = "INFO",
    form: str = "auto",
    file: Path | None = None,
    rotate: tuple[int, int] = (100, 5),
    stream: TextIO | None = None,
) -> None:
    """Send the ``worker`` loggers to ``stream`` (standard error) and to ``file``, which is rotated at ``rotate[0]``
    megabytes with ``rotate[1]`` old files kept. Call it again to change that. Raises ConfigError."""
    for number, name in ((30, "WARN"), (50, "FATAL")):
        logging.addLevelName(number, name)
    terminal = (stream or sys.stderr).isatty()
    text = form == "text" or (form == "auto" and terminal)
    handler: logging.Handler = logging.StreamHandler(stream) if stream is not None else _StandardError()
    colour = text and terminal and "NO_COLOR" not in os.environ
    handler.setFormatter(TextFormatter(redactor, colour) if text else JsonFormatter(redactor))
    handlers = [handler]
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            rotating = PrivateFile(file, maxBytes=rotate[0] << 20, backupCount=rotate[1], encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"log.file: {file} cannot be written: {error.strerror}") from None
        rotating.setFormatter(TextFormatter(redactor, False) if form == "text" else JsonFormatter(redactor))
        handlers.append(rotating)
    root = logging.getLogger("worker")
    for old in list(root.handlers):
        root.removeHandler(old)
        with contextlib.suppress(OSError):  # its disk is full
            old.close()
    names = _Names()
    for new in handlers:
        new.addFilter(names)
        root.addHandler(new)
    root.setLevel(LEVELS[level])
    root.propagate = False
