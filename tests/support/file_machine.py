"""Where the file tasks of a test work: on this machine, or on another one over SFTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.runners.file.runner import FileRunner
from domain.result import Result
from domain.runner import Credential, ExecutionContext
from domain.status import Status
from tests.support.ssh_peer import SshPeer


@dataclass
class Machine:
    """Runs file tasks below ``root``: here, or on the machine that ``ssh`` serves. ``log`` gets their lines."""

    root: Path
    ssh: SshPeer | None = None
    log: Callable[[bytes], None] = lambda _: None

    def credential(self, credential_id: str) -> Credential:
        assert self.ssh is not None
        return Credential(credential_id, "ssh_private_key", "key", {"private_key": self.ssh.plain_key.strip()})

    def execute(self, **args: Any) -> Result:
        runner = FileRunner([str(self.root)])
        if self.ssh is not None:
            args |= {"host": "127.0.0.1", "port": self.ssh.port, "known_hosts": self.ssh.known_hosts}
            args |= {"credential": "c", "username": self.ssh.user}
        runner.parse_args("", json.dumps(args))
        return runner.execute(ExecutionContext(credentials=self, log=self.log))

    def done(self, **args: Any) -> dict[str, Any]:
        """What a task that succeeds puts out."""
        result = self.execute(**args)
        assert result.status is Status.SUCCESS, result.error
        document = json.loads(result.output)
        assert isinstance(document, dict)
        assert document.get("host") == (self.ssh and "127.0.0.1")
        return document
