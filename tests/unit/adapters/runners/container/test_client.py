"""How engines are reached, and how requests to them are ended."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from docker.errors import APIError, DockerException

from adapters.runners.command import ProcessOptions
from adapters.runners.container import ContainerRunner, Owner
from adapters.runners.container.client import Lines, cause_of, secret_of, translated
from adapters.runners.container.request import ContainerFailed
from domain.errors import InvalidTask
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


def test_what_is_cut_stays_cut_also_for_connections_that_come_later() -> None:
    lines = Lines()
    (first, one), (second, two) = socket.socketpair(), socket.socketpair()
    with one, two:
        lines.add(first)
        lines.cut()
        lines.add(second)
        assert (one.recv(1), two.recv(1)) == (b"", b"")
        lines.close()
        lines.close()
    assert (first.fileno(), second.fileno()) == (-1, -1)


def test_a_new_connection_of_a_client_that_was_cut_fails_before_it_is_made() -> None:
    lines = Lines()
    lines.cut()
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(OSError, match="cancelled"):
        lines.dial("127.0.0.1", server.getsockname()[1], 5.0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (APIError("refused", explanation="no such image"), "no such image"),
        (DockerException("gone"), "the engine cannot be reached or went away: gone"),
        (OSError(2, "No such file or directory"), "the engine cannot be reached or went away: .*No such file"),
        (json.JSONDecodeError("x", "", 0), "not JSON"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_what_the_library_raises_becomes_the_engines_own_words(error: Exception, told: str) -> None:
    with pytest.raises(ContainerFailed, match=told), translated():
        raise error


def test_errors_of_our_own_pass_as_they_are() -> None:
    with pytest.raises(InvalidTask, match="mine"), translated():
        raise InvalidTask("mine")


def test_the_cause_is_what_the_system_said_however_often_it_was_wrapped() -> None:
    system = OSError(2, "gone")
    wrapped = RuntimeError("outer", ValueError(system))
    assert cause_of(wrapped) is system
    assert cause_of(system) is system


def test_a_secret_is_asked_for_only_where_one_is_named_and_has_to_be_of_its_kind() -> None:
    keys = Keys("key_value", {"a": "b"})
    assert secret_of(None, "", "key_value") is None
    assert secret_of(keys, "c1", "key_value") == {"a": "b"}
    with pytest.raises(InvalidTask, match="is a key_value, wanted is a username_password"):
        secret_of(keys, "c1", "username_password")
    with pytest.raises(InvalidTask, match="no source of credentials"):
        secret_of(None, "c1", "key_value")
