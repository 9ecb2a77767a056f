"""How engines are reached, and how requests to them are ended."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.runners.command import ProcessOptions
from adapters.runners.container import ContainerRunner, Owner
from domain.result import Result
from domain.runner import ExecutionContext
from domain.status import Status
from tests.support.containers import Keys
from tests.support.dockerapi import FakeDocker


@pytest.mark.parametrize("tls", [False, True])
def test_an_engine_on_another_machine_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool) -> None:
    """Plain, and by TLS where both sides show a certificate; the environment has no say (G68, G69)."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), authority.issue_cert("worker@example.com")
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    value = {
        "ca_cert": authority.cert_pem.bytes().decode(),
        "client_cert": client.cert_chain_pems[0].bytes().decode(),
        "client_key": client.private_key_pem.bytes().decode().strip(),
    }
    keys = Keys("key_value", value)
    with FakeDocker(tmp_path, tcp=True, tls=server if tls else None) as engine:
        there = {"host": f"tcp://{engine.host}", "connection": "tcp"} | ({"tls": True, "tls_cred": "c"} if tls else {})

        def done(**args: Any) -> Result:
            runner = ContainerRunner(options=ProcessOptions(grace=1), owner=Owner("w1"))
            runner.parse_args("", json.dumps(there | args))
            up = lambda data: runner.stop() if b"stop me" in data else None  # noqa: E731
            return runner.execute(ExecutionContext(task_id="t1", credentials=keys, log=up))

        ran = done(action="run", image="busybox", name="nn", command=["sh", "-c", "echo hi; exit 3"], detach=False)
        assert (ran.exit_code, json.loads(ran.output)["output"]) == (3, "hi\n")
        done(action="run", image="busybox", name="lives", command=["sleep", "60"])
        told = done(action="exec", container="lives", exec_command=["sh", "-c", "echo in; exit 5"])
        assert (told.exit_code, json.loads(told.output)["output"]) == (5, "in\n")
        stopped = done(action="run", image="busybox", command=["sh", "-c", "echo stop me; sleep 60"], detach=False)
        assert (stopped.status, [box.name for box in engine.boxes.values()]) == (Status.STOPPED, ["nn", "lives"])


def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    runner = ContainerRunner()
    runner.parse_args("", json.dumps({"action": "pull", "image": "x", "socket": str(tmp_path / "engine.sock")}))
    error = runner.execute().error
    assert error.endswith(f"No such file or directory: '{tmp_path}/engine.sock'")
