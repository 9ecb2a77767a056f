"""``exec``: one task here and now, with its output as it comes and its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import click

from domain.result import EndReason, Result
from domain.runner import CancelRequest, CancelToken, Urgency
from domain.task import Metadata, Task

Settings = TypeVar("Settings")
BROKEN_PIPE = 128 + signal.SIGPIPE  # what a shell says of a program whose reader went away


@dataclass(frozen=True, slots=True)
class OneTask:
    """One task from the command line. ``token`` stops it, ``log`` takes its output, ``tell`` takes words about it."""

    task: Task
    token: CancelToken
    log: Callable[[bytes], None]
    tell: Callable[[str], None]


class Terminal:
    """Between a running task and the person in front of it: output goes out, wishes to end come in.

    A thread of its own passes the wishes on: a signal handler may interrupt the very lock that stopping needs, so it
    only puts into a SimpleQueue, which is made for that.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._wishes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.closed = False  # nobody reads the output any more

    def watch(self, token: CancelToken) -> None:
        """The first SIGINT or SIGTERM stops the task, the next one kills it."""
        threading.Thread(target=self._pass_on, args=(token,), name="exec-signals", daemon=True).start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._wishes.put(None))

    def _pass_on(self, token: CancelToken) -> None:
        self._wishes.get()
        token.cancel(CancelRequest(EndReason.STOPPED, Urgency.POLITE))
        self._wishes.get()
        token.cancel(CancelRequest(EndReason.KILLED, Urgency.NOW))

    def write(self, data: bytes) -> None:
        """Show output; never raises. Where nobody reads any more, the task is stopped."""
        if self.closed:
            return
        try:
            self._out.write(data)
            self._out.flush()
        except OSError:
            self.closed = True
            self._wishes.put(None)


def command(execute: Callable[[Settings, OneTask], Result], epilog: str | None = None) -> click.Command:
    """The command over what runs one task: ``execute(loaded settings, task)``."""

    @click.command(
        "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        short_help="Run one task here and now, with its exit code.", epilog=epilog,
    )  # fmt: skip
    @click.option("--timeout", type=click.FloatRange(min=0.001), help="limit in seconds")
    @click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="add to the task's environment")
    @click.option("--dir", "directory", default="", metavar="DIR", help="work there")
    @click.option("--json", "as_json", is_flag=True, help="print the result as JSON instead of the output")
    @click.argument("category")
    @click.argument("command")
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def run_one(context: click.Context, /, category: str, command: str, args: tuple[str, ...], **options: Any) -> None:
        """Run one task: CATEGORY COMMAND [ARGS]. Output is live; Ctrl-C stops the task, a second one kills it.

        One ARG is given to the task as it is, several as a JSON list, so that each stays one word. For runners that
        take a JSON object, COMMAND may be that object.
        """
        if category not in ("command", "default", "") and command.lstrip().startswith("{") and not args:
            command, args = category, (command,)
        terminal = Terminal(sys.stdout.buffer)
        token = CancelToken()
        terminal.watch(token)
        log = (lambda _: None) if options["as_json"] else terminal.write
        one = OneTask(_task(category, command, args, options), token, log, lambda text: click.echo(text, err=True))
        result = execute(context.obj(), one)
        context.exit(_nobody_reads() if terminal.closed else _tell(result, options["as_json"]))

    return run_one


def _task(category: str, command: str, args: tuple[str, ...], options: Mapping[str, Any]) -> Task:
    environment = dict(assignment(text) for text in options["variables"])
    return Task(
        "",
        category,
        command,
        args[0] if len(args) == 1 else json.dumps(args) if args else "",
        timeout=options["timeout"] or 0,
        metadata=Metadata(working_dir=options["directory"] or ".", environment=environment),
    )


def _tell(result: Result, as_json: bool) -> int:
    """Returns the exit status."""
    if as_json:
        click.echo(json.dumps(_document(result), ensure_ascii=False))
    elif result.error:
        click.echo(result.error.splitlines()[0], err=True)
    ok = result.status == "success"
    return 0 if ok else result.exit_code if 0 < result.exit_code < 256 else 1


def assignment(text: str) -> tuple[str, str]:
    """NAME=VALUE in two. Raises a usage error."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _nobody_reads() -> int:
    """Exit status where the reader of the output went away. What is still buffered must not fail at the exit."""
    with contextlib.suppress(OSError, ValueError):
        void = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(void, sys.stdout.fileno())
        os.close(void)
    return BROKEN_PIPE


def _document(result: Result) -> dict[str, Any]:
    return {
        "status": result.status.value,
        "end_reason": result.end_reason.value,
        "exit_code": result.exit_code,
        "output": result.output,
        "error": result.error,
        "duration_ms": result.duration,
    }
