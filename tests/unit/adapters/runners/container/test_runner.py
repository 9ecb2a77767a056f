"""The container runner against a fake engine on a unix socket (G77, K1 to K13)."""

from __future__ import annotations

import json
import re
import time

import pytest

from domain.status import Status
from tests.support.containers import ROOT, made, ran
from tests.support.dockerapi import FakeDocker


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


def test_the_documented_task_runs(engine: FakeDocker) -> None:
    found = re.search(r"```json\n(.*?)```", (ROOT / "docs/runners/container.md").read_text(), re.S)
    assert found is not None
    result = ran(engine, **json.loads(found[1])["args"])
    assert (result.status, json.loads(result.output)["output"]) == (Status.SUCCESS, "hello\n")
