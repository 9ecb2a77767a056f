"""Places for file tasks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.runners.file.local import LocalFiles
from adapters.runners.file.login import login_of
from adapters.runners.file.sftp import Sftp
from adapters.runners.file.ssh import SshConnection
from adapters.runners.file.task import FileArgs
from adapters.runners.file.walk import Policy
from domain.runner import Credential
from tests.support.sftp_peer import PasswordPeer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("paths").resolve()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def files() -> LocalFiles:
    """The files of this machine, for a run that nobody ends."""
    return LocalFiles(Policy(None), lambda: False, lambda _: None)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PasswordPeer]:
    with PasswordPeer(tmp_path_factory.mktemp("remote").resolve(), "ada", "s3cret") as served:
        yield served


@pytest.fixture
def there(peer: PasswordPeer) -> Iterator[Path]:
    """A directory of its own on the other machine."""
    made = Path(tempfile.mkdtemp(dir=peer.root))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def sftp(peer: PasswordPeer) -> Iterator[Sftp]:
    credential = Credential("c", "username_password", "peer", {"username": peer.user, "password": peer.password})
    args = FileArgs(host="127.0.0.1", port=peer.port, known_hosts=peer.known_hosts)
    line = SshConnection(login_of(args, credential, ""), lambda _: None)
    yield Sftp(line.sftp(), "peer")
    line.close()
