"""Git tasks on repositories of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapters.process.supervisor import Supervisor
from adapters.runners.command import ProcessOptions
from adapters.runners.git import GitOptions, GitRunner
from domain.result import Result
from domain.runner import Credential, ExecutionContext
from domain.status import Status
from tests.support.git_peers import Origin

ROOT = Path(__file__).parents[2]


class Vault:
    def __init__(self, category: str, **value: str) -> None:
        self._credential = Credential("c1", category, "deploy", value)

    def credential(self, credential_id: str) -> Credential:
        return self._credential


def made(processes: Supervisor, options: GitOptions | None = None, **args: Any) -> GitRunner:
    runner = GitRunner(processes, ProcessOptions(grace=1), options or GitOptions(allow_file_urls=True))
    runner.parse_args("", json.dumps(args))
    return runner


def ran(processes: Supervisor, directory: Path, vault: Vault | None = None, **args: Any) -> Result:
    options = args.pop("options", None)
    context = ExecutionContext(task_id="t1", working_dir=directory, credentials=vault)
    return made(processes, options, **args).execute(context)


class Copy:
    """A working copy that tasks bring up to date."""

    def __init__(self, processes: Supervisor, origin: Origin, directory: Path) -> None:
        self.processes, self.origin, self.directory, self.log = processes, origin, directory, b""
        self.store = directory / ".git"

    def run(self, **args: Any) -> Result:
        runner = GitRunner(self.processes, ProcessOptions(grace=1), GitOptions(allow_file_urls=True))
        runner.parse_args("", json.dumps({"url": self.origin.url} | args))
        return runner.execute(ExecutionContext(task_id="t", working_dir=self.directory, log=self._take))

    def _take(self, data: bytes) -> None:
        self.log += data

    def done(self, **args: Any) -> dict[str, Any]:
        result = self.run(**args)
        assert result.status is Status.SUCCESS, result.error
        document = json.loads(result.output)
        assert isinstance(document, dict)
        return document

    def files(self) -> dict[str, str]:
        found = [path for path in self.directory.rglob("*") if path.is_file() and ".git" not in path.parts]
        return {str(path.relative_to(self.directory)): path.read_text() for path in found}
