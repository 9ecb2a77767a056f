"""Cleans up, backs up, compresses and measures files, here or on another machine (category ``file``)."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence

from adapters.runners.base import BaseRunner
from adapters.runners.file.actions import Actions
from adapters.runners.file.local import LocalFiles
from adapters.runners.file.ports import Files, FileTrouble
from adapters.runners.file.task import FileArgs, parse
from adapters.runners.file.walk import Policy
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import Credential, ExecutionContext

ROOTS = (
    "/var/log",
    "/opt/logs",
    "/data",
    "/opt/data",
    "/backup",
    "/data/backup",
    "/tmp",  # noqa: S108 - tasks rely on it
    "/var/www/uploads",
    "/opt/app",
    "/home/*/app",
)


class FileRunner(BaseRunner):
    """``roots`` limit local tasks; ``known_hosts`` is a file of ssh host keys (empty: the user's own)."""

    default_timeout = 24 * 3600.0

    def __init__(self, roots: Sequence[str] = ROOTS, known_hosts: str = "") -> None:
        super().__init__()
        self._roots, self._known_hosts = tuple(roots), known_hosts
        self._args = FileArgs()
        self._policy = Policy(self._roots)
        self._log: Callable[[bytes], None] = lambda _: None

    def parse_args(self, command: str, args: str) -> None:
        found = parse(args)
        policy = Policy(None if found.host else self._roots)
        for key in ("path", "source", "target"):
            if value := getattr(found, key):
                policy.check(value, key)
        self._args, self._policy = found, policy

    def run(self, context: ExecutionContext) -> Result:
        self._log = context.log
        args, began = self._args, time.monotonic()
        self._say(f"[File] {args.action} {args.path or args.source}{f' on {args.host}' if args.host else ''}")
        try:
            with self._files(context) as files:
                document = Actions(args, files, self._ended, self._say).do()
        except FileTrouble:
            if self._ended():
                return self.cancelled()
            raise
        except OSError as error:
            raise FileTrouble(f"{error.filename or args.path or args.source}: {error.strerror or error}") from None
        document |= ({"host": args.host} if args.host else {}) | {"duration_ms": int((time.monotonic() - began) * 1000)}
        text = json.dumps(document, ensure_ascii=False)
        if self._ended():
            return self.cancelled(output=text)
        return self.end(EndReason.COMPLETED, output=text, log=f"{args.action} done")

    @contextlib.contextmanager
    def _files(self, context: ExecutionContext) -> Iterator[Files]:
        if not self._args.host:
            yield LocalFiles(self._policy, self._ended, self._say)
            return
        from adapters.runners.file.login import login_of
        from adapters.runners.file.remote import RemoteFiles
        from adapters.runners.file.sftp import Sftp
        from adapters.runners.file.ssh import SshConnection

        login = login_of(self._args, self._credential(context), self._known_hosts)
        connection = SshConnection(login, self._say)
        self.cancel.subscribe(connection.cancel)
        try:
            yield RemoteFiles(Sftp(connection.sftp(), self._args.host), self._policy, self._ended, self._say)
        finally:
            self.cancel.unsubscribe(connection.cancel)
            connection.close()

    def _credential(self, context: ExecutionContext) -> Credential:
        if context.credentials is None:
            raise InvalidTask("the task names a credential, but this worker has no source of credentials")
        return context.credentials.credential(self._args.credential)

    def _say(self, text: str) -> None:
        self._log(f"{text}\n".encode("utf-8", "replace"))

    def _ended(self) -> bool:
        return self.cancel.requested
