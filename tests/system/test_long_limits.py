"""Limits of days, years and more: every runner takes them, and no wait of a library is told too much."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.base import LONGEST
from adapters.runners.command import CommandRunner
from adapters.runners.database import DatabaseRunner
from adapters.runners.http import HttpRunner
from adapters.runners.message import MessageRunner
from adapters.runners.script import ScriptRunner
from domain.result import Result
from domain.runner import Credential, ExecutionContext, Runner
from domain.status import Status
from tests.support import peers
from tests.support.peers_small import answer, http_peer

# What 32 bits of milliseconds count, once and twice round; what a time_t of nanoseconds does; and no number at all.
LIMITS = [2_147_484.0, 2_592_000.0, 4_294_967.5, 1e10, 1e18, float("inf")]
limits = pytest.mark.parametrize("seconds", LIMITS, ids=str)


class Keys:
    def __init__(self, category: str, **value: Any) -> None:
        self._category, self._value = category, value

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, self._category, "peer", self._value)


def execute(
    runner: Runner, seconds: float, text: str = "", context: ExecutionContext | None = None, **args: Any
) -> Result:
    runner.parse_args(text, json.dumps(args) if args else "")
    runner.set_timeout(seconds)
    try:
        return runner.execute(context)
    finally:
        runner.cleanup()


@limits
def test_a_command_and_a_script_take_any_limit(seconds: float) -> None:
    assert execute(CommandRunner(), seconds, "echo hi").output == "hi\n"
    assert execute(ScriptRunner(), seconds, language="sh", type="inline", code="echo hi").output == "hi\n"


@pytest.mark.parametrize("seconds", [float("nan"), 0.0, -1.0, None])
def test_what_is_no_limit_leaves_the_usual_one(seconds: float | None) -> None:
    runner = CommandRunner()
    runner.set_timeout(seconds)
    assert runner.timeout == runner.default_timeout
    runner.set_timeout(10**400)
    assert runner.timeout == LONGEST


@limits
def test_an_http_task_with_any_limit_waits_for_its_answer(seconds: float) -> None:
    """A socket that is told 2^32 milliseconds and a little more waits for the little only."""
    asked, waited = threading.Event(), threading.Event()

    def respond(request: Any, _: bytes) -> None:
        asked.set()
        waited.wait(0.7 if seconds == 4_294_967.5 else 0.0)
        answer(request, 200, b"late")

    with http_peer(respond) as peer:
        result = execute(HttpRunner(), seconds, url=f"http://127.0.0.1:{peer.port}/")
    assert (result.status, json.loads(result.output)["message"]) == (Status.SUCCESS, "late")


@limits
def test_a_message_takes_any_limit(seconds: float) -> None:
    with http_peer(lambda request, _: answer(request, 200, b"{}")) as peer:
        keys = Keys("webhook", webhook=f"http://127.0.0.1:{peer.port}/hook")
        context = ExecutionContext(credentials=keys)
        result = execute(MessageRunner(), seconds, context=context, type="webhook", credential_id="1", content="x")
    assert result.status is Status.SUCCESS, result.error


SERVERS: Mapping[str, Callable[[], AbstractContextManager[peers.Peer]]] = {
    "redis": peers.redis_peer,
    "mysql": peers.mariadb_peer,
    "postgresql": peers.postgresql_peer,
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("redis", marks=pytest.mark.peer("redis")),
        pytest.param("mysql", marks=pytest.mark.peer("mariadb")),
        pytest.param("postgresql", marks=pytest.mark.peer("postgresql")),
    ],
)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, peers.Peer]]:
    try:
        with SERVERS[request.param]() as peer:
            yield request.param, peer
    except peers.Missing as missing:
        pytest.skip(str(missing))


@limits
def test_a_database_task_takes_any_limit(server: tuple[str, peers.Peer], seconds: float) -> None:
    db_type, peer = server
    asked: dict[str, Any] = {"command": "PING"} if db_type == "redis" else {"sql": "SELECT 1 AS n"}
    named = {"mysql": "jobs", "postgresql": "postgres", "redis": "0"}[db_type]
    context = ExecutionContext(credentials=Keys("username_password", username=peer.username, password=peer.password))
    where = {"db_type": db_type, "credential_id": "1", "host": peer.host, "port": peer.port, "database": named}
    result = execute(DatabaseRunner(), seconds, context=context, **where, **asked)
    assert result.status is Status.SUCCESS, result.error


@limits
def test_a_task_on_sqlite_takes_any_limit(seconds: float, tmp_path: Path) -> None:
    context = ExecutionContext(working_dir=tmp_path)
    result = execute(DatabaseRunner(), seconds, context=context, db_type="sqlite", database="x.db", sql="SELECT 1 AS n")
    assert result.status is Status.SUCCESS, result.error
