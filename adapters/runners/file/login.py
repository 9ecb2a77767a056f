"""As whom a file task enters another machine."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.runners.file.known_hosts import KnownHosts
from adapters.runners.file.task import FileArgs
from domain.errors import InvalidTask
from domain.runner import Credential

if TYPE_CHECKING:
    from paramiko import PKey

SECRETS = {"ssh_private_key": "private_key", "username_password": "password"}


@dataclass(frozen=True, slots=True)
class Login:
    host: str
    port: int
    username: str
    credential: Credential = field(repr=False)
    hosts: KnownHosts = field(repr=False)
    accept_new: bool = False

    def private_key(self) -> PKey | None:
        """The key, None where the credential is a password. Raises InvalidTask."""
        value, name = self.credential.value, self.credential.name
        if self.credential.category != "ssh_private_key":
            return None
        from paramiko import ECDSAKey, Ed25519Key, PasswordRequiredException, RSAKey, SSHException

        # The server strips the final newline of what it keeps.
        text = str(value["private_key"]).replace("\r\n", "\n").strip() + "\n"
        passphrase = value.get("passphrase")
        for kind in (Ed25519Key, ECDSAKey, RSAKey):
            try:
                return kind.from_private_key(io.StringIO(text), passphrase if isinstance(passphrase, str) else None)
            except PasswordRequiredException:
                raise InvalidTask(f"credential {name}: the private key needs a passphrase") from None
            except (SSHException, ValueError, IndexError, TypeError):
                continue  # another kind of key, a wrong passphrase, or none at all: the library says the same of each
        raise InvalidTask(
            f"credential {name}: the private key cannot be read: a wrong passphrase, or no Ed25519, ECDSA or RSA key"
        )

    def password(self) -> str:
        return str(self.credential.value["password"])


def login_of(args: FileArgs, credential: Credential, known_hosts: str) -> Login:
    """The user: the task's, else the credential's, else root. Raises InvalidTask where the credential does not fit."""
    key, value = SECRETS.get(credential.category), credential.value
    if key is None:
        kinds = ", ".join(SECRETS)
        raise InvalidTask(f"credential {credential.name} is a {credential.category}: remote files take {kinds}")
    if not isinstance(value.get(key), str) or not value[key]:
        raise InvalidTask(f"credential {credential.name} has no {key}")
    own = value.get("username")
    username = args.username.strip() or (own.strip() if isinstance(own, str) else "") or "root"
    hosts = KnownHosts(args.known_hosts or known_hosts)
    return Login(args.host, args.port or 22, username, credential, hosts, args.host_key_check == "accept-new")
