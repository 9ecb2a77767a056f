"""A real ssh server on loopback for tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


class SshPeer:
    """A real sshd for the current user with one host key, and files over SFTP.

    ``key`` needs ``passphrase``, ``plain_key`` none. The passphrase is this peer's own: ssh-keygen takes it in its
    argv, where tests of another process see it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.passphrase = f"canary-{uuid.uuid4().hex}"
        root.mkdir(mode=0o700)
        for name, secret in (("host", ""), ("client", self.passphrase), ("plain", "")):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", secret, "-f", str(root / name)], check=True, timeout=20
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.key = (root / "client").read_text()
        self.plain_key = (root / "plain").read_text()
        self.known_hosts = f"[127.0.0.1]:{self.port} {(root / 'host.pub').read_text()}"
        self.user = getpass.getuser()
        (root / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {root}/host\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {root}/client.pub {root}/plain.pub\nUsePAM no\nSubsystem sftp internal-sftp\n"
            f"PasswordAuthentication no\nPermitRootLogin yes\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> SshPeer:
        os.makedirs("/run/sshd", exist_ok=True)
        self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(self._root / "config")], stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if b"listening" in line:
                return self
        raise RuntimeError("sshd did not start")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=10)

    def url(self, repository: Path) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{repository}"
