"""What one git run is given to reach its remote: environment, private directory, key, askpass helper."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from adapters.process.temporary_files import ANYBODY
from adapters.runners.git.askpass import Answers, Askpass, https_answers, passphrase_answers
from adapters.runners.git.rules import authority
from domain.errors import InvalidTask
from domain.runner import Credential

# An earlier task may have prepared the repository: nothing in it may start a program or change where git connects.
HARDENED = {
    "core.hooksPath": "/dev/null", "core.fsmonitor": "false", "core.protectHFS": "true", "core.protectNTFS": "true",
    "core.pager": "cat", "credential.helper": "", "protocol.ext.allow": "never", "gc.auto": "0",
    "fetch.unpackLimit": "1",
    "maintenance.auto": "false", "submodule.recurse": "false", "fetch.recurseSubmodules": "false",
    "diff.external": "", "advice.detachedHead": "false", "init.defaultBranch": "main", "init.templateDir": "",
}  # fmt: skip


def options() -> list[str]:
    """``-c`` settings for every git command."""
    return [word for key, value in HARDENED.items() for word in ("-c", f"{key}={value}")]


def secrets_of(credential: Credential | None) -> list[str]:
    """Every secret text of a credential, for cutting it out of what git prints."""
    if credential is None:
        return []
    keys = ("password", "token", "private_key", "passphrase")
    return [text for key in keys if isinstance(text := credential.value.get(key), str) and len(text) > 3]


class Access:
    """A 0700 directory with what ssh and git need; ``close`` removes it. Use as a context manager."""

    def __init__(
        self, url: str, credential: Credential | None, known_hosts: str, accept_new: bool, temporary: str = ANYBODY
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=f"{temporary}git-"))
        self._askpass: Askpass | None = None
        self._ssh = ["ssh", "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no"]
        self._ssh += ["-o", f"StrictHostKeyChecking={'accept-new' if accept_new else 'yes'}"]
        self._ssh += ["-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=30", "-o", "PermitLocalCommand=no"]
        try:
            self._known_hosts(known_hosts)
            answers = self._credential(url, credential)
            self._ssh += ["-o", f"BatchMode={'no' if answers else 'yes'}"]
            if answers is not None:
                self._askpass = Askpass(self._directory, answers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Access:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._askpass is not None:
            self._askpass.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def environment(self, inherited: Mapping[str, str], protocols: str, ca_file: str) -> dict[str, str]:
        """The inherited variables without any that steer git or ssh, and ours."""
        steering = ("GIT_", "SSH_ASKPASS", "LD_PRELOAD", "XDG_CONFIG_HOME", "DISPLAY")
        kept = {name: value for name, value in inherited.items() if not name.startswith(steering)}
        program = str(self._askpass.program) if self._askpass else "/bin/false"
        ours = {
            "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1", "GIT_ALLOW_PROTOCOL": protocols, "GIT_ASKPASS": program, "SSH_ASKPASS": program,
            "SSH_ASKPASS_REQUIRE": "force", "GIT_SSH_COMMAND": shlex.join(self._ssh), "GIT_SSH_VARIANT": "ssh",
            "GIT_PAGER": "cat", "GIT_EDITOR": "/bin/false", "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        return kept | ours | ({"GIT_SSL_CAINFO": ca_file} if ca_file else {})

    def _known_hosts(self, known_hosts: str) -> None:
        if "\n" in known_hosts or " " in known_hosts.strip():  # the lines themselves
            self._write("known_hosts", known_hosts)
            known_hosts = str(self._directory / "known_hosts")
        if known_hosts:
            self._ssh += ["-o", f'UserKnownHostsFile="{known_hosts}"', "-o", "GlobalKnownHostsFile=/dev/null"]

    def _credential(self, url: str, credential: Credential | None) -> Answers | None:
        if credential is None:
            return None
        value = credential.value
        needed = {"ssh_private_key": "private_key", "username_password": "password", "api_token": "token"}
        key = needed.get(credential.category)
        if key is None:
            raise InvalidTask(f"credential {credential.name} is a {credential.category}: git takes {', '.join(needed)}")
        if not isinstance(value.get(key), str) or not value[key]:
            raise InvalidTask(f"credential {credential.name} has no {key}")
        if credential.category == "ssh_private_key":
            return self._private_key(value[key], value.get("passphrase"))
        host = authority(url)
        if not host:
            raise InvalidTask(f"credential {credential.name} is for https, but the url is not")
        user = str(value.get("username") or "") if credential.category == "username_password" else "git"
        if not user:
            raise InvalidTask(f"credential {credential.name} has no username")
        return https_answers(host, user, value[key])

    def _private_key(self, key: str, passphrase: object) -> Answers | None:
        # The server strips the final newline, without which OpenSSH cannot read the key (GIT4).
        path = self._write("key", key.replace("\r\n", "\n").strip() + "\n")
        self._ssh += ["-i", str(path), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]
        return passphrase_answers(passphrase) if isinstance(passphrase, str) and passphrase else None

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return path
