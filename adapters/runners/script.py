"""Runs a script: Python, Node.js or shell, inline or from a file (category ``script``)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.process.ports import Command, Processes
from adapters.process.workdir import NoWorkingDirectory, prepare
from adapters.runners.arguments import decode, need, substitute
from adapters.runners.command import ProcessOptions, ProcessRunner, Tee
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import ExecutionContext

LANGUAGES = {
    "python": "python", "nodejs": "nodejs", "node": "nodejs", "javascript": "nodejs", "js": "nodejs",
    "shell": "shell", "bash": "shell", "sh": "shell",
}  # fmt: skip
INTERPRETERS = {"python": ("python3", ".py"), "nodejs": ("node", ".js"), "shell": ("/bin/bash", ".sh")}
CODE_LIMIT = 10_240
DIRECTORIES = ("/var/scripts", "/opt/cronjob/scripts", "/data/scripts")


@dataclass(frozen=True, slots=True)
class ScriptArgs:
    language: str = ""
    type: str = ""
    file: str = ""
    code: str = ""
    args: list[str] = field(default_factory=list)
    interpreter: str = ""


class ScriptRunner(ProcessRunner):
    """``<interpreter> <file> <args...>``, no shell. Script files must lie below one of ``directories``."""

    live_output = True

    def __init__(
        self,
        processes: Processes | None = None,
        options: ProcessOptions | None = None,
        directories: Sequence[str] = DIRECTORIES,
    ) -> None:
        super().__init__(processes, options)
        self._directories = [Path(entry).resolve() for entry in directories if entry.strip()]
        self._args = ScriptArgs()
        self._language = ""
        self._private: str | None = None

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, ScriptArgs)
        self._language = LANGUAGES.get(found.language.strip().lower(), "")
        if not self._language:
            raise InvalidTask(f"language {found.language!r} is unknown; known: {', '.join(LANGUAGES)}")
        if found.type == "inline":
            need(found.code, "code")
            if len(found.code.encode("utf-8", "replace")) > CODE_LIMIT:
                raise InvalidTask(f"code is longer than {CODE_LIMIT} bytes: put it into a file")
        elif found.type == "file":
            need(found.file, "file")
        else:
            raise InvalidTask(f"type must be file or inline, not {found.type!r}")
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        try:
            directory = prepare(context, use_default=False)
        except NoWorkingDirectory as error:
            return self.end(EndReason.NO_SUCH_DIRECTORY, error=str(error), exit_code=-1)
        environment = context.environment
        interpreter = substitute(self._args.interpreter, environment).strip() or INTERPRETERS[self._language][0]
        script = self._script(substitute(self._args.file, environment))
        log = Tee(context.log, self.options.keep)
        ended = self.run_process(
            Command(
                argv=(interpreter, str(script), *(substitute(item, environment) for item in self._args.args)),
                cwd=directory,
                environment=self.environment(context),
                log=log.write,
                keep=self.options.keep,
                timeout=self.timeout,
                grace=self.options.grace,
                task_id=context.task_id,
            )
        )
        return self.outcome(ended, log.value())

    def cleanup(self) -> None:
        private, self._private = self._private, None
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)

    def _script(self, file: str) -> Path:
        if self._args.type == "inline":
            # A directory of our own: nobody can plant, read or swap what lies in it (S6, G79).
            self._private = tempfile.mkdtemp(prefix=f"{self.options.temporary}script-")
            path = Path(self._private) / f"script{INTERPRETERS[self._language][1]}"
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="replace") as script:
                script.write(self._args.code)
            return path
        # Where the path really leads decides, and it is the same answer for a missing file: nothing can be probed (S5).
        real = Path(os.path.realpath(file))
        if not any(real.is_relative_to(directory) for directory in self._directories) or not real.is_file():
            allowed = ", ".join(map(str, self._directories)) or "none"
            raise InvalidTask(
                f"there is no script {file} below the allowed directories ({allowed}; ALLOWED_SCRIPT_DIRS)"
            )
        return real
