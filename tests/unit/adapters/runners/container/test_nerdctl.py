"""The words that nerdctl is given, and what is made of its answers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from domain.status import Status
from tests.support.containers import ran_there


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
    args: dict[str, Any] = {"action": "inspect", "container": "healthy"}
    assert "health" not in json.loads(ran_there(nerdctl[0], **args).output)
    assert json.loads(ran_there(nerdctl[0], **args, check_health=True).output)["health"] == "unhealthy"


def test_a_prune_of_containerd_spares_images_that_have_a_name(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K8: as that of the Docker API."""
    assert ran_there(nerdctl[0], action="prune", type="all").status is Status.SUCCESS
    assert nerdctl[1].read_text().split()[2:] == ["system", "prune", "--force", "--volumes", "--"]


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
