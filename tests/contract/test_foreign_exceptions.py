"""What a transport raises beside the errors of its ports ends at the border of the core."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from adapters.memory.server import MemoryServer
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.transport.calls import NAMED
from adapters.testkit.transport.server_cases import calls_of
from application.border import guarded
from application.ports import Identity, Server
from domain.errors import ConnectionLost, Unavailable, WorkerError

FOREIGN = (RuntimeError("k3y is no good"), KeyError("k3y"), OSError(5, "k3y"), SystemExit("k3y"), AssertionError("k3y"))
CALLS = len(NAMED) + 2  # the named ones, silence and close


class Raises:
    """Every method of every part."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_: object) -> Any:
            raise self._error

        return call


def made(error: BaseException) -> Server:
    part: Any = Raises(error)
    broken = Server("theirs", part, part, part, part, part, part, part, part)
    return guarded(broken, lambda text: text.replace("k3y", "***"))


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
def test_a_foreign_exception_of_each_method_becomes_ours(error: BaseException) -> None:
    server = made(error)
    stream = server.stream
    whoever = Identity(str(uuid.uuid4()), "w1")
    lost: list[Callable[[], object]] = [lambda: stream.connect(whoever), lambda: stream.announce(whoever), stream.close]
    calls = [*lost, *calls_of(server, str(uuid.uuid4()))]
    assert len(calls) == CALLS
    for call in calls:
        with pytest.raises((ConnectionLost, Unavailable)) as told:
            call()
        assert str(told.value).startswith("theirs: ")
        assert "k3y" not in str(told.value)


def test_an_error_that_the_port_names_passes_as_it_is() -> None:
    for error in (Unavailable("busy", retry_after=3.0), ConnectionLost("gone")):
        with pytest.raises(type(error)) as told:
            made(error).stream.connect(Identity(str(uuid.uuid4()), "w1"))
        assert told.value is error


def test_each_defect_is_told_once_with_the_name_of_the_transport(caplog: pytest.LogCaptureFixture) -> None:
    server = made(RuntimeError("k3y"))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            for call in (server.stream.ping, server.stream.silence):
                with pytest.raises(WorkerError):
                    call()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "a defect of the transport theirs: ping raised RuntimeError: ***",
        "a defect of the transport theirs: silence raised RuntimeError: ***",
    ]


def test_what_is_no_call_passes_the_border() -> None:
    memory = MemoryServer(ThreadRuntime()).server()
    assert guarded(memory, str).claims.keeps_running is True
    assert guarded(replace(memory, logs=None), str).logs is None
