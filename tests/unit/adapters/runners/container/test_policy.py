"""What a container may get of the host (G77)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.runners.container import ContainerRunner
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
