"""What a container task may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.runners.container import ContainerRunner
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
