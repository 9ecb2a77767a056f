"""The git program: fixed argument lists, its own words where it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.process.ports import Command, Exit
from adapters.runners.command import ProcessOptions
from adapters.runners.git.access import options as hardened
from adapters.runners.git.directory import GitFailed
from domain.result import EndReason


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git with fixed argument lists; raises GitFailed with git's own words."""

    run: Callable[[Command], Exit]
    environment: Mapping[str, str]
    log: Callable[[bytes], None]
    options: ProcessOptions
    task_id: str

    def __call__(
        self,
        directory: Path,
        *words: str,
        quiet: bool = False,
        settings: tuple[str, ...] = (),
        timeout: float | None = None,
    ) -> str:
        ended = self.run(
            Command(
                argv=("git", *hardened(), *settings, *words),
                cwd=directory,
                environment=self.environment,
                log=(lambda _: None) if quiet else self.log,
                keep=self.options.keep,
                timeout=timeout,
                grace=self.options.grace,
                task_id=self.task_id,
            )
        )
        if ended.reason is EndReason.COMPLETED:
            return ended.stdout.decode("utf-8", "replace").strip()
        told = ended.stderr.decode("utf-8", "replace").strip()[-2000:]
        reason = EndReason.FAILED if ended.reason is EndReason.EXIT_CODE else ended.reason
        raise GitFailed(f"git {words[0]} failed: {told or ended.error}", reason, ended.exit_code, words[0])
