"""The words that nerdctl is given, and what is made of its answers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapters.process.ports import Exit
from adapters.runners.command import ProcessOptions
from adapters.runners.container.nerdctl import Nerdctl
from adapters.runners.container.request import ClientDied, ContainerFailed, checked
from domain.result import EndReason
from domain.runner import CancelToken
from domain.status import Status
from tests.support.containers import ran_there
from tests.support.runner_fakes import Programs


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


def performed(ended: Exit, **args: Any) -> tuple[list[str], dict[str, Any]]:
    """The words behind the namespace of the last command, and the output."""
    programs = Programs(ended)
    nerdctl = Nerdctl(lambda it: programs.run(it, CancelToken()), ProcessOptions(), {}, lambda _: None)
    output = nerdctl.perform(checked(json.dumps({"runtime": "containerd"} | args)), {}, Path("/"), CancelToken())
    return list(programs.commands[-1].argv[3:]), output


def completed(text: str) -> Exit:
    return Exit(EndReason.COMPLETED, 0, stdout=text.encode())


def test_figures_are_read_from_the_text_that_people_get() -> None:
    text = '{"CPUPerc": "12.50%", "MemPerc": "0.07%", "MemUsage": "1.5MiB / 2GiB"}'
    words, output = performed(completed(text), action="stats", container="nn")
    assert words == ["stats", "--no-stream", "--format", "{{json .}}", "nn"]
    assert output == {
        "action": "stats", "container": "nn", "cpu_percent": 12.5, "memory_percent": 0.07,
        "memory_usage": 3 << 19, "memory_limit": 2 << 30,
    }  # fmt: skip


@pytest.mark.parametrize("action", ["stats", "inspect"])
def test_an_answer_that_is_not_json_is_told(action: str) -> None:
    with pytest.raises(ContainerFailed, match="not JSON"):
        performed(completed("WARN"), action=action, container="nn")


def test_a_build_passes_all_that_was_asked_for() -> None:
    words, output = performed(
        completed(""), action="build", context="c", tags=["a:1", "b:2"], dockerfile="D", build_args={"X": "1"},
        no_cache=True, pull=True,
    )  # fmt: skip
    assert words == [
        "build", "--tag", "a:1", "--tag", "b:2", "--build-arg", "X=1", "--file", "c/D", "--no-cache", "--pull", "c",
    ]  # fmt: skip
    assert output == {"action": "build", "image_id": "", "tags": ["a:1", "b:2"]}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [(EndReason.EXIT_CODE, ContainerFailed), (EndReason.SIGNAL, ClientDied), (EndReason.OUT_OF_MEMORY, ClientDied)],
)
def test_a_failure_is_told_in_nerdctls_words_and_a_killed_client_apart(
    reason: EndReason, kind: type[Exception]
) -> None:
    ended = Exit(reason, 1, error="it ended", stderr=b"no such image\n")
    with pytest.raises(ContainerFailed, match="nerdctl pull failed: no such image") as caught:
        performed(ended, action="pull", image="x")
    assert type(caught.value) is kind
