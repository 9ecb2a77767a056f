"""What a container may get of the host (G77)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.container import ContainerRunner
from adapters.runners.container.policy import ContainerPolicy
from adapters.runners.container.request import Request
from domain.errors import InvalidTask


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


@pytest.mark.parametrize("volume", ["data:/d", "/d", "{root}/a:/d:ro", "{root}:/d"])
def test_volumes_of_the_engine_and_directories_below_a_root_are_given(tmp_path: Path, volume: str) -> None:
    ContainerPolicy((str(tmp_path),)).check(Request(volumes=[volume.format(root=tmp_path)], network="my-net_1.x"))


@pytest.mark.parametrize("name", ["link", "link/x", "socket", "../x"])
def test_where_a_path_really_leads_decides(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("/etc")
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(root / "socket"))
        with pytest.raises(InvalidTask, match="must lie below one of"):
            ContainerPolicy((str(root),)).check(Request(volumes=[f"{root}/{name}:/x"]))


def test_an_operator_can_lift_every_limit() -> None:
    ContainerPolicy(allow_host=True).check(Request(volumes=["/:/host"], network="host"))
