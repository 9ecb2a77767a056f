"""How a container leaves its engine."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from adapters.process.temporary_files import ANYBODY
from adapters.runners.container.departure import ByApi, ByNerdctl
from adapters.runners.container.owner import RUN
from adapters.runners.container.request import ContainerFailed, Engine
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, Urgency
from domain.status import Status
from tests.support.containers import names, ran_there
from tests.support.dockerapi import Box, FakeDocker


def test_a_time_out_reaches_the_container_of_containerd(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K1"""
    result = ran_there(nerdctl[0], 1.0, action="run", image="sleeper", name="nn", detach=False)
    commands = [text.split("\n") for text in nerdctl[1].read_text().split("--\n")]
    assert result.status is Status.TIMEOUT
    assert [words[2] for words in commands if len(words) > 2] == ["run", "ps", "stop", "ps", "rm"]
    assert {words[-2] for words in commands if words[2:3] in (["stop"], ["rm"])} == {"id-of-run"}


def test_a_container_whose_id_nobody_heard_is_found_by_the_label_of_its_run(engine: FakeDocker) -> None:
    engine.boxes["x"] = Box("x", "mine", {"Image": "busybox", "Labels": {RUN: "r1"}})
    engine.boxes["y"] = Box("y", "other", {"Image": "busybox", "Labels": {RUN: "r2"}})
    leaving = ByApi(Engine(socket=engine.socket), None, ANYBODY, "r1", "")
    assert leaving.name == "the container of this run"
    assert leaving.remove(CancelToken())
    assert names(engine) == ["other"]
    assert not leaving.remove(CancelToken())


def test_a_container_that_is_gone_already_is_no_failure(engine: FakeDocker) -> None:
    leaving = ByApi(Engine(socket=engine.socket), None, ANYBODY, "r1", "0123456789abcdef")
    assert leaving.name == "container 0123456789ab"
    assert leaving.remove(CancelToken())


def test_a_cancel_ends_the_question_to_an_engine_that_is_silent(engine: FakeDocker) -> None:
    engine.silent.add("containers/json")
    token = CancelToken()

    def cancel() -> None:
        engine.asked.wait(10)
        token.cancel(CancelRequest(EndReason.KILLED, Urgency.NOW))

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with pytest.raises(ContainerFailed):
        ByApi(Engine(socket=engine.socket), None, ANYBODY, "r1", "").remove(token)
    cancelling.join()


def test_nothing_on_containerd_is_no_reason_to_stop_or_remove(tmp_path: Path) -> None:
    program = tmp_path / "nerdctl"
    program.write_text('#!/bin/sh\necho "$3" >> "$RECORD"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(tmp_path / "record")}
    leaving = ByNerdctl(Engine(runtime="containerd"), environment, "r1")
    leaving.stop(1.0, CancelToken())
    assert not leaving.remove(CancelToken())
    assert (tmp_path / "record").read_text() == "ps\nps\n"
