"""What the actions ask of an engine of the Docker API, and what they tell."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from domain.status import Status
from tests.support.containers import created, ran
from tests.support.dockerapi import FakeDocker


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
