"""Fixtures of several files of system tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.file_machine import Machine
from tests.support.ssh_peer import SSHD, SshPeer


@pytest.fixture(scope="module")
def ssh_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshPeer | None]:
    if not Path(SSHD).exists():
        yield None
        return
    with SshPeer(tmp_path_factory.mktemp("ssh") / "peer") as peer:
        yield peer


@pytest.fixture(params=["here", "over SFTP"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, ssh_peer: SshPeer | None) -> Machine:
    if request.param == "here":
        return Machine(tmp_path)
    if ssh_peer is None:
        pytest.skip("sshd is missing: install openssh-server to test remote files")
    return Machine(tmp_path, ssh_peer)
