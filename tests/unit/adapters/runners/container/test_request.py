"""What a container task may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.runners.container import ContainerRunner
from adapters.runners.container.request import Request, checked, port, restart
from domain.errors import InvalidTask


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


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("80:8080", ("8080/tcp", ("", "80"))), ("127.0.0.1:80:80/udp", ("80/udp", ("127.0.0.1", "80"))),
        ("[::1]:80:80", ("80/tcp", ("::1", "80"))), ("8080", ("8080/tcp", ("", ""))),
    ],
)  # fmt: skip
def test_a_port_is_read_as_docker_reads_it(text: str, meant: tuple[str, tuple[str, str]]) -> None:
    assert port(text) == meant


@pytest.mark.parametrize("text", ["80:", "a", "80:80/icmp", "x:80", ""])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask, match="port"):
        port(text)


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [("", "no", 0), ("always", "always", 0), ("on-failure", "on-failure", 0), ("on-failure:3", "on-failure", 3)],
)
def test_a_restart_policy_may_hold_a_count(text: str, name: str, count: int) -> None:
    assert restart(text) == {"Name": name, "MaximumRetryCount": count}


@pytest.mark.parametrize("text", ["always:3", "on-failure:x", "on-failure:-1", "sometimes"])
def test_a_restart_policy_that_no_engine_knows_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask, match="restart"):
        restart(text)


@pytest.mark.parametrize("env", [{"A": "1", "B": "x=y"}, ["A=1", "B=x=y"]])
def test_variables_come_as_an_object_or_as_a_list(env: object) -> None:
    found = checked(json.dumps({"action": "run", "image": "x", "env": env}))
    assert found.variables == {"A": "1", "B": "x=y"}


@pytest.mark.parametrize("env", ["A=1", {"A": 1}, ["A"], [1], 7])
def test_variables_of_another_form_are_refused(env: object) -> None:
    with pytest.raises(InvalidTask, match="env must be"):
        checked(json.dumps({"action": "run", "image": "x", "env": env}))


@pytest.mark.parametrize(
    ("registry", "image", "final"),
    [
        ("", "a:1", "a:1"),
        ("https://r.example/", "a:1", "r.example/a:1"),
        ("r.example", "r.example/a:1", "r.example/a:1"),
    ],
)
def test_a_registry_stands_in_front_of_the_image_once(registry: str, image: str, final: str) -> None:
    assert Request(registry=registry, image=image).final_image == final


@pytest.mark.parametrize(
    "args", [{"host": "h:2376"}, {"host": "tcp://h:2376", "connection": "tcp"}, {"runtime": "podman"}]
)
def test_an_engine_is_here_or_on_another_machine(args: dict[str, str]) -> None:
    found = checked(json.dumps({"action": "pull", "image": "x"} | args))
    assert found.engine.host == args.get("host", "")
