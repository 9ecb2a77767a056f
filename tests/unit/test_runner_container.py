"""The container runner against a fake engine on a unix socket and a fake nerdctl (G77, K1 to K13)."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import ssl
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.process.supervisor import Supervisor
from adapters.runners.command import ProcessOptions
from adapters.runners.container import ContainerRunner, OrphanContainers, Owner
from adapters.runners.container.owner import BOUND
from adapters.runners.container.request import Engine
from domain.errors import InvalidTask
from domain.result import Result
from domain.runner import Credential, ExecutionContext
from domain.status import Status
from tests.support.dockerapi import Box, FakeDocker

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeDocker]:
    with FakeDocker(tmp_path) as docker:
        yield docker


class Keys:
    def __init__(self, category: str, value: dict[str, str]) -> None:
        self._credential = Credential("c1", category, "key", value)

    def credential(self, credential_id: str) -> Credential:
        return self._credential


class Vault:
    def credential(self, credential_id: str) -> Credential:
        return Credential("c1", "username_password", "registry", {"username": "u", "password": "p"})


def made(engine: FakeDocker, owner: Owner | None = None, **args: Any) -> ContainerRunner:
    runner = ContainerRunner(options=ProcessOptions(grace=1), owner=owner)
    runner.parse_args("", json.dumps({"socket": engine.socket, **args}))
    return runner


def ran(engine: FakeDocker, owner: Owner | None = None, **args: Any) -> Result:
    return made(engine, owner, **args).execute(ExecutionContext(task_id="t1", credentials=Vault()))


def created(engine: FakeDocker) -> Any:
    return next(body for _, path, _, body in engine.requests if path == "containers/create")


def test_a_missing_image_is_fetched(engine: FakeDocker) -> None:
    """K6"""
    result = ran(engine, action="run", image="other", command=["true"], detach=False)
    assert (result.status, "other:latest" in engine.images) == (Status.SUCCESS, True)


def test_ports_and_restart_reach_the_engine(engine: FakeDocker) -> None:
    """K7"""
    ports = ["53:53/udp", "127.0.0.1:80:80", "81:80"]
    ran(engine, action="run", image="busybox", command=["true"], ports=ports, restart="on-failure:3")
    host = created(engine)["HostConfig"]
    assert host["PortBindings"]["53/udp"] == [{"HostIp": "", "HostPort": "53"}]
    assert [one["HostIp"] for one in host["PortBindings"]["80/tcp"]] == ["127.0.0.1", ""]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


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


@pytest.mark.parametrize("silent", ["create", "start", "wait", "attach", "json", "stop"])
def test_an_engine_that_never_answers_is_left(engine: FakeDocker, silent: str) -> None:
    """K1, within grace + 1 s of the time-out."""
    engine.silent.add(silent)
    runner = made(engine, action="run", image="busybox", command=["sleep", "60"], detach=False)
    runner.set_timeout(0.4)
    started = time.monotonic()
    result = runner.execute()
    assert result.status is Status.TIMEOUT
    assert time.monotonic() - started < 0.4 + 1 + 1


@pytest.mark.parametrize("action", ["pull", "push", "build"])
def test_an_error_line_fails(engine: FakeDocker, action: str, tmp_path: Path) -> None:
    """K4"""
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    engine.stream_errors[action] = 'denied: "no"'
    result = ran(engine, action=action, image="busybox", context=str(tmp_path), tags=["x:1"])
    assert result.status is Status.FAILED
    assert json.loads(result.output) == {"error": 'denied: "no"'}


def test_a_build_ships_no_ignored_file(engine: FakeDocker, tmp_path: Path) -> None:
    """K9"""
    root = tmp_path / "c"
    (root / ".git").mkdir(parents=True)
    for name, text in (("Dockerfile", "FROM x"), (".dockerignore", "secret\n"), ("secret", "s"), ("kept", "k")):
        (root / name).write_text(text)
    (root / ".git/config").write_text("token")
    (root / "link").symlink_to("kept")
    result = ran(engine, action="build", context=str(root), tags=["x:1", "x:2"])
    shipped = next(body for _, path, _, body in engine.requests if path == "build")
    with tarfile.open(fileobj=io.BytesIO(shipped)) as archive:
        names = set(archive.getnames())
    assert json.loads(result.output) == {"action": "build", "image_id": "sha256:abc", "tags": ["x:1", "x:2"]}
    assert {"Dockerfile", "kept", "link"} <= names
    assert not {"secret", ".git/config"} & names


def test_a_push_names_the_registry_and_tags_latest(engine: FakeDocker) -> None:
    """K12"""
    engine.images.add("a:1")
    result = ran(
        engine,
        action="push",
        image="a:1",
        registry="reg.example.com:5000",
        registry_cred="c1",
        tag_latest=True,
    )
    pushes = [
        (query["tag"], headers["X-Registry-Auth"])
        for (_, path, query, _), headers in zip(engine.requests, engine.headers, strict=True)
        if path.endswith("push")
    ]
    assert json.loads(result.output) == {"action": "push", "image": "reg.example.com:5000/a:1"}
    assert [tag for tag, _ in pushes] == ["1", "latest"]
    assert json.loads(base64.urlsafe_b64decode(pushes[0][1]))["serveraddress"] == "reg.example.com:5000"


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ({"action": "stop", "container": "nn"}, {"container": "nn"}),
        ({"action": "restart", "container": "nn", "timeout": 1}, {"container": "nn"}),
        ({"action": "remove", "container": "nn"}, {"type": "container", "container": "nn"}),
        ({"action": "remove", "image": "busybox"}, {"type": "image", "image": "busybox"}),
        ({"action": "logs", "container": "nn"}, {"container": "nn", "logs": "hello\n"}),
        ({"action": "pull", "image": "i"}, {"image": "i"}),
        ({"action": "prune", "type": "all"}, {"type": "all", "deleted_count": 1, "space_reclaimed": 0}),
    ],
)
def test_actions_tell_what_they_did(engine: FakeDocker, args: dict[str, Any], wanted: dict[str, Any]) -> None:
    """K8"""
    ran(engine, action="run", image="busybox", command=["echo", "hello"], name="nn", detach=False)
    result = ran(engine, **args)
    assert json.loads(result.output) == {"action": args["action"], **wanted}


@pytest.mark.parametrize(
    "extra",
    [
        {"volumes": ["/:/host"]}, {"volumes": ["/var/run/docker.sock:/s"]}, {"volumes": ["/tmp/../etc:/e"]},
        {"volumes": ["../x:/y"]}, {"network": "host"}, {"network": "container:other"},
        {"network": "ns:/proc/1/ns/net"},
    ],
)  # fmt: skip
def test_a_task_cannot_ask_for_the_host(extra: dict[str, Any]) -> None:
    """G77"""
    with pytest.raises(InvalidTask, match="refused"):
        ContainerRunner().parse_args("", json.dumps({"action": "run", "image": "x", **extra}))


@pytest.mark.parametrize(
    "args",
    [
        {"action": "fly"}, {"action": "exec", "container": "x"}, {"action": "run"},
        {"action": "pull", "image": "x", "connection": "tcp"}, {"action": "run", "image": "--privileged"},
        {"action": "run", "image": "x", "restart": "on-failure:x"}, {"action": "run", "image": "x", "ports": ["a:b"]},
        {"action": "pull", "image": "x", "runtime": "containerd", "host": "h"},
        {"action": "pull", "image": "x", "host": "ssh://h"}, {"action": "build", "context": "--x", "tags": ["t"]},
        {"action": "prune", "type": "image", "runtime": "containerd", "filters": {"until": "24h"}},
        {"action": "run", "image": "x", "runtime": "containerd", "env": {"KEY": "a\nb"}},
    ],
)  # fmt: skip
def test_a_wrong_task_is_refused(args: dict[str, Any]) -> None:
    """K10"""
    with pytest.raises(InvalidTask):
        ContainerRunner().parse_args("", json.dumps(args))


def names(engine: FakeDocker) -> list[str]:
    return [box.name for box in engine.boxes.values()]


def cleaned(owner: Owner, **more: Any) -> OrphanContainers:
    """All rounds, one right after the other."""
    orphans = OrphanContainers(owner, pauses=(0.0,) * 3, **more)
    orphans.start()
    if orphans._thread is not None:
        orphans._thread.join(10)
    return orphans


def test_what_an_engine_makes_after_the_crash_is_removed_too(engine: FakeDocker, tmp_path: Path) -> None:
    """G77: the engine may carry out what was asked of it when the one who asked is dead."""
    former = Owner("w1", tmp_path / "w1")
    former.note(Engine(socket=engine.socket))
    orphans = OrphanContainers(Owner("w1", tmp_path / "w1"), pauses=(0.0, 0.3))
    orphans.start()
    while not any(path == "containers/json" for _, path, _, _ in engine.requests):
        threading.Event().wait(0.005)
    engine.boxes["x"] = Box("x", "late", {"Image": "busybox", "Labels": former.labels | {BOUND: "true"}})
    assert orphans._thread is not None
    orphans._thread.join(5)
    assert names(engine) == []


def test_an_engine_that_does_not_answer_keeps_its_place_for_the_next_start(
    engine: FakeDocker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """G77: and neither the start nor the end waits for it."""
    former = Owner("w1", tmp_path / "w1")
    former.note(Engine(socket=engine.socket))
    former.note(Engine(socket=str(tmp_path / "nobody.sock")))
    former.note(Engine(runtime="containerd"))
    engine.silent.add("containers/json")
    now = Owner("w1", tmp_path / "w1")
    orphans = OrphanContainers(now, pauses=(0.0, 60.0))
    started = time.monotonic()
    orphans.start()
    assert time.monotonic() - started < 0.5
    assert engine.asked.wait(5)
    orphans.close()
    assert time.monotonic() - started < 3
    assert len(now.engines()) == 3
    engine.silent.clear()
    with caplog.at_level("INFO", "worker"):
        cleaned(now)
    assert {engine.socket or engine.runtime for engine in now.engines()} == {
        str(tmp_path / "nobody.sock"),
        "containerd",
    }
    assert "the next start tries anew" in caplog.text


NERDCTL = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done >> "$RECORD"
echo -- >> "$RECORD"
case "$*" in
  *" exec "*) echo in; exit 7;;
  *"label=cronjob-worker.run="*) echo id-of-run; exit 0;;
  *"label=cronjob-worker.worker=w1"*) printf 'a\\nb\\nc\\n'; exit 0;;
  *"label=cronjob-worker.life="*) echo b; exit 0;;
  *"label=cronjob-worker.bound=true"*) printf 'a\\nb\\nforeign\\n'; exit 0;;
  *"status=created"*) printf 'c\\nother\\n'; exit 0;;
  *healthy*) echo '[{"Id": "1", "Name": "n", "Created": "", "State": {"Status": "up", "Health": {"Status": "unhealthy"}}}]'; exit 0;;
  *sleeper*) case "$*" in *" run "*) exec sleep 60;; esac;;
esac
echo done
"""


@pytest.fixture
def nerdctl(tmp_path: Path) -> tuple[dict[str, str], Path]:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/nerdctl"
    program.write_text(NERDCTL)
    program.chmod(0o755)
    record = tmp_path / "record"
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "RECORD": str(record)}, record


def ran_there(environment: dict[str, str], limit: float | None = None, **args: Any) -> Result:
    processes = Supervisor()
    try:
        runner = ContainerRunner(processes, ProcessOptions(grace=1, environment=environment), owner=Owner("w1"))
        runner.parse_args("", json.dumps({"runtime": "containerd", **args}))
        runner.set_timeout(limit)
        return runner.execute(ExecutionContext(task_id="t1"))
    finally:
        processes.close()


def test_containerd_exec_tells_the_exit_code(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K2"""
    result = ran_there(nerdctl[0], action="exec", container="nn", exec_command=["x"])
    assert (result.exit_code, json.loads(result.output)["output"]) == (7, "in\n")


def test_containerd_run_passes_all_options(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K11; a variable's value is in no argument (G64)."""
    result = ran_there(
        nerdctl[0], action="run", image="i", name="nn", ports=["1:2"], restart="always", env={"A": "canary"},
        command=["c", "d e"], detach=False,
    )  # fmt: skip
    words = nerdctl[1].read_text().split("\n")
    assert result.status is Status.SUCCESS
    assert {"--publish", "1:2", "--restart", "always", "--env-file", "cronjob-worker.task=t1", "d e"} <= set(words)
    assert "canary" not in "".join(words)


def test_containerd_push_names_the_registry_and_tags_latest(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K12"""
    result = ran_there(nerdctl[0], action="push", image="app:1", registry="r.example:5000", tag_latest=True)
    calls = [text.split()[2:] for text in nerdctl[1].read_text().split("--\n") if text]
    assert json.loads(result.output) == {"action": "push", "image": "r.example:5000/app:1"}
    assert calls == [
        ["tag", "app:1", "r.example:5000/app:1"], ["push", "r.example:5000/app:1"],
        ["tag", "app:1", "r.example:5000/app:latest"], ["push", "r.example:5000/app:latest"],
    ]  # fmt: skip


def test_containerd_inspect_tells_the_health(nerdctl: tuple[dict[str, str], Path]) -> None:
    args = {"action": "inspect", "container": "healthy"}
    assert "health" not in json.loads(ran_there(nerdctl[0], **args).output)
    assert json.loads(ran_there(nerdctl[0], **args, check_health=True).output)["health"] == "unhealthy"


def test_a_prune_of_containerd_spares_images_that_have_a_name(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K8: as that of the Docker API."""
    assert ran_there(nerdctl[0], action="prune", type="all").status is Status.SUCCESS
    assert nerdctl[1].read_text().split()[2:] == ["system", "prune", "--force", "--volumes", "--"]


def test_a_time_out_reaches_the_container_of_containerd(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K1"""
    result = ran_there(nerdctl[0], 1.0, action="run", image="sleeper", name="nn", detach=False)
    commands = [text.split("\n") for text in nerdctl[1].read_text().split("--\n")]
    assert result.status is Status.TIMEOUT
    assert [words[2] for words in commands if len(words) > 2] == ["run", "ps", "stop", "ps", "rm"]
    assert {words[-2] for words in commands if words[2:3] in (["stop"], ["rm"])} == {"id-of-run"}


def test_the_next_start_removes_what_a_crash_left_on_containerd(
    nerdctl: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    """G77"""
    Owner("w1", tmp_path / "w1").note(Engine(runtime="containerd", namespace="n"))
    now, processes = Owner("w1", tmp_path / "w1"), Supervisor()
    try:
        cleaned(now, run=processes.run, environment=lambda: nerdctl[0])
    finally:
        processes.close()
    calls = [text.split() for text in nerdctl[1].read_text().split("--\n")]
    removed = [words[2:] for words in calls if "rm" in words]
    assert removed[:2] == [["rm", "--force", "--volumes", "a"], ["rm", "--volumes", "c"]]
    assert now.engines() == []


def test_a_real_nerdctl_runs_a_container() -> None:
    socket = os.environ.get("TEST_CONTAINERD_SOCKET", "/run/containerd/containerd.sock")
    if shutil.which("nerdctl") is None or not os.path.exists(socket):
        pytest.skip(
            f"no nerdctl, or no containerd at {socket}: Debian has no package of nerdctl; put it on PATH, start "
            "containerd, load an image busybox, and name another socket in TEST_CONTAINERD_SOCKET"
        )
    args = {"socket": socket, "network": "none", "remove": True, "detach": False}
    result = ran_there(
        dict(os.environ), 60, action="run", image="busybox", command=["sh", "-c", "echo hi; exit 3"], **args
    )
    assert (result.exit_code, json.loads(result.output)["output"]) == (3, "hi\n")


def test_the_documented_task_runs(engine: FakeDocker) -> None:
    found = re.search(r"```json\n(.*?)```", (ROOT / "docs/runners/container.md").read_text(), re.S)
    assert found is not None
    result = ran(engine, **json.loads(found[1])["args"])
    assert (result.status, json.loads(result.output)["output"]) == (Status.SUCCESS, "hello\n")
