"""The git runner: one way for clone and update, so that a moved branch or another URL cannot go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from adapters.process.ports import Processes
from adapters.process.workdir import NoWorkingDirectory, prepare
from adapters.runners.arguments import decode, need
from adapters.runners.base import BaseRunner
from adapters.runners.command import ProcessOptions, ProcessRunner, Tee
from adapters.runners.git.access import Access, secrets_of
from adapters.runners.git.directory import GitFailed, replaced
from adapters.runners.git.program import Git
from adapters.runners.git.rules import check_commit, check_ref, check_replaceable, check_url
from adapters.runners.git.worktree import Wanted, Worktree
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import Credential, ExecutionContext


@dataclass(frozen=True, slots=True)
class GitOptions:
    """``known_hosts`` is a file of ssh host keys (empty: the user's own), ``ca_file`` trusts further https servers;
    ``allow_file_urls`` lets tasks read repositories of this machine."""

    known_hosts: str = ""
    ca_file: str = ""
    allow_file_urls: bool = False


@dataclass(frozen=True, slots=True)
class GitArgs:
    url: str = ""
    branch: str = ""
    tag: str = ""
    commit: str = ""
    credential: str = ""
    clean: bool = False
    depth: int = 1
    submodules: bool = False
    known_hosts: str = ""
    host_key_check: str = "yes"


class GitRunner(ProcessRunner):
    """Brings the working directory to the wanted branch, tag or commit; local changes to tracked files are undone."""

    def __init__(
        self,
        processes: Processes | None = None,
        options: ProcessOptions | None = None,
        git: GitOptions | None = None,
    ) -> None:
        super().__init__(processes, options)
        self._git = git or GitOptions()
        self._args = GitArgs()

    def _arm_deadline(self) -> Callable[[], None]:
        """One limit for all git commands of a run together, so it is kept here and not per command."""
        return BaseRunner._arm_deadline(self)

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, GitArgs)
        check_url(need(found.url, "url"), self._git.allow_file_urls)
        if sum(map(bool, (found.branch, found.tag, found.commit))) > 1 and not (found.branch and found.commit):
            raise InvalidTask("give one of branch, tag and commit (a branch beside a commit is allowed)")
        check_ref(found.branch or "main", "branch")
        if found.tag:
            check_ref(found.tag, "tag")
        if found.commit:
            check_commit(found.commit)
        if found.depth < 0:
            raise InvalidTask("depth must be 0 (all history) or more")
        if found.host_key_check not in ("yes", "accept-new"):
            raise InvalidTask("host_key_check must be yes or accept-new")
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        try:
            directory = prepare(context) or Path.cwd()
        except NoWorkingDirectory as error:
            return self.end(EndReason.NO_SUCH_DIRECTORY, error=str(error), exit_code=-1)
        if self._args.clean:
            check_replaceable(directory)
        credential = self._credential(context)
        secrets = [secret.encode() for secret in secrets_of(credential)]
        log = Tee(lambda data: context.log(masked(data, secrets)) if data else None, self.options.keep)
        args = self._args
        wanted = args.commit or args.tag or args.branch or "main"
        log.write(f"repository {args.url} at {wanted}, into {directory}\n".encode())
        if credential is not None:
            log.write(f"credential {credential.name}\n".encode())
        started = time.monotonic()
        try:
            known, new = args.known_hosts or self._git.known_hosts, args.host_key_check == "accept-new"
            with Access(args.url, credential, known, new, self.options.temporary) as access:
                output = self._work(context, directory, access, log)
        except GitFailed as failed:
            text = masked(failed.text.encode(), secrets).decode("utf-8", "replace")
            kept = masked(log.value(), secrets).decode("utf-8", "replace")
            if self.cancel.requested:
                return self.cancelled(log=kept)
            return self.end(failed.reason, error=text, log=kept, exit_code=failed.exit_code)
        output |= {"duration": round(time.monotonic() - started, 3), "timestamp": _now()}
        log.write(f"done: {output['action']} at {str(output['commit'])[:8]}\n".encode())
        text = masked(log.value(), secrets).decode("utf-8", "replace")
        return self.end(EndReason.COMPLETED, output=json.dumps(output), log=text)

    def _work(self, context: ExecutionContext, directory: Path, access: Access, log: Tee) -> dict[str, object]:
        args = self._args
        protocols = "https:ssh:file" if self._git.allow_file_urls else "https:ssh"
        # What the task adds to the environment is not for git: a GIT_SSH_COMMAND there would be a command (G75).
        inherited = self.environment(ExecutionContext())
        git = Git(
            self.run_process,
            access.environment(inherited, protocols, self._git.ca_file),
            log.write,
            self.options,
            context.task_id,
        )
        wanted = Wanted(args.url, args.branch or "main", args.tag, args.commit, args.depth, args.submodules)
        if args.clean:
            with replaced(directory) as beside:
                done = Worktree(git, beside).bring(wanted)
        else:
            done = Worktree(git, directory).bring(wanted)
        return {
            "action": done.action,
            "repository": args.url,
            "branch": args.tag or args.branch or ("" if args.commit else "main"),
            "commit": done.commit,
            "changed_files": done.changed_files,
            "insertions": done.insertions,
            "deletions": done.deletions,
            "work_dir": str(directory),
        }

    def _credential(self, context: ExecutionContext) -> Credential | None:
        if not self._args.credential:
            return None
        if context.credentials is None:
            raise InvalidTask("the task names a credential, but this worker has no source of credentials")
        return context.credentials.credential(self._args.credential)


def masked(data: bytes, secrets: list[bytes]) -> bytes:
    """A server may echo what it was given: no secret goes on from there (G63)."""
    for secret in secrets:
        data = data.replace(secret, b"***")
    return data


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
