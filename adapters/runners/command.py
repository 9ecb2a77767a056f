"""Runs a shell command (categories ``command`` and ``default``)."""

from __future__ import annotations

import json
import os
import re
import shlex
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from adapters.process.environment import child_environment
from adapters.process.output import HeadTail
from adapters.process.ports import Command, Exit, Processes
from adapters.process.supervisor import Supervisor
from adapters.process.temporary_files import ANYBODY
from adapters.process.workdir import NoWorkingDirectory, leave, prepare
from adapters.runners.arguments import LONE
from adapters.runners.base import BaseRunner
from adapters.runners.guard import CommandGuard
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import ExecutionContext

PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./^!-]+")


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How runners that start processes behave; all of it comes from the settings.

    ``grace`` in seconds between TERM and KILL; ``keep`` bytes remembered of each stream; ``secrets`` gives the values
    that no child may find in its environment; ``temporary`` is what names of temporary files begin with.
    """

    grace: float = 10.0
    keep: int = 256 * 1024
    secrets: Callable[[], Iterable[str]] = tuple
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    temporary: str = ANYBODY

    def inherited(self) -> dict[str, str]:
        """What the children of runners find in their environment, before the task's own variables."""
        return child_environment(self.environment, {}, self.secrets())


def quote(item: str) -> str:
    """One argument as one shell word, whatever it holds; plain words stay as they are (C4).

    Half of a character becomes U+FFFD, as everywhere in the JSON of tasks.
    """
    return item if PLAIN.fullmatch(item) else shlex.quote(LONE.sub("\N{REPLACEMENT CHARACTER}", item))


def shell_text(command: str, args: str) -> str:
    """The text for ``bash -c``: a JSON list of strings is quoted item by item, anything else is appended as it is."""
    if args.strip() in ("", "null"):
        return command
    try:
        items = json.loads(args)
    except (ValueError, RecursionError):
        items = None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return " ".join([command, *map(quote, items)])
    return f"{command} {args}"


class ProcessRunner(BaseRunner):
    """What runners have in common that work through a child process."""

    def __init__(self, processes: Processes | None = None, options: ProcessOptions | None = None) -> None:
        super().__init__()
        self._processes = processes
        self.options = options or ProcessOptions()

    def _arm_deadline(self) -> Callable[[], None]:
        """The supervisor keeps the time."""
        return lambda: None

    def run_process(self, command: Command) -> Exit:
        """Run to the end; a runner made without a supervisor has one of its own for that long."""
        if self._processes is not None:
            return self._processes.run(command, self.cancel)
        own = Supervisor()
        try:
            return own.run(command, self.cancel)
        finally:
            own.close()

    def environment(self, context: ExecutionContext) -> dict[str, str]:
        return child_environment(self.options.environment, context.environment, self.options.secrets())

    def outcome(self, ended: Exit, log: bytes) -> Result:
        """The Result of a process: standard output is the output, both streams in order are the log."""
        stdout = text_of(ended.stdout)
        error = ended.error
        if ended.reason is not EndReason.COMPLETED and (last := text_of(ended.stderr).strip()):
            error = f"{error}\n{last[-2000:]}"
        return Result(
            ended.reason.status,
            ended.reason,
            output=stdout,
            execute_log=text_of(log),
            error=error,
            exit_code=ended.exit_code,
            truncated=ended.stdout_cut > 0,
        )


class CommandRunner(ProcessRunner):
    """``bash -c`` on the command and its arguments, in a process group of its own."""

    live_output = True

    def __init__(
        self,
        processes: Processes | None = None,
        options: ProcessOptions | None = None,
        guard: CommandGuard | None = None,
    ) -> None:
        super().__init__(processes, options)
        self._guard_rail = guard or CommandGuard()
        self._text = ""

    def parse_args(self, command: str, args: str) -> None:
        text = shell_text(command, args)
        if not text.strip():
            raise InvalidTask("command is empty: write the command to run")
        if "\0" in text:
            raise InvalidTask("command or args hold a NUL character, which no program can be given")
        self._guard_rail.check(text)
        self._text = text

    def run(self, context: ExecutionContext) -> Result:
        self._guard_rail.check_environment(context.environment)
        try:
            directory = prepare(context)
        except NoWorkingDirectory as error:
            return self.end(EndReason.NO_SUCH_DIRECTORY, error=str(error), exit_code=-1)
        both = Tee(context.log, self.options.keep)
        try:
            ended = self.run_process(
                Command(
                    argv=("bash", "-c", self._text),
                    cwd=directory,
                    environment=self.environment(context),
                    log=both.write,
                    keep=self.options.keep,
                    timeout=self.timeout,
                    grace=self.options.grace,
                    task_id=context.task_id,
                )
            )
        finally:
            leave(context)
        return self.outcome(ended, both.value())


class Tee:
    """Passes the live log on and remembers a bounded part of it."""

    def __init__(self, log: Callable[[bytes], None], keep: int) -> None:
        self._log = log
        self._memory = HeadTail(keep)
        self._guard = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._guard:
            self._memory.feed(data)
        self._log(data)

    def value(self) -> bytes:
        with self._guard:
            return self._memory.value()


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")
