"""At DEBUG the log tells the story of a task, of a connection and of a request, and no secret (G63)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.testkit.apiserver import SimulatedServer
from tests.support.canary import leaks
from tests.support.program import Program, Start, wait_until

# What a killed worker leaves half open in the server is closed by the garbage collector of its event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TASK = [
    "offered: command",
    "claimed: it is held for",
    "accepted: it is in the journal",
    "announced: the server was told",
    "announcement confirmed",
    "fenced: the server shows that it runs here",
    "started: command",
    "process started: pid",
    "process ended",
    "recorded: its end is in the journal",
    "ended: ",
    "sent: ",
    "confirmed: the server",
]
CONNECTION = [
    "connecting to 127.",
    "dialling 127.",
    "upgraded: 127.",
    "registration sent: ",
    "registration processed",
    "verified: the server knows this worker",
    "connected as ",
    "closed: ",
]


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(token=f"Can4ry{secrets.token_hex(8)}") as made:
        yield made


def in_order(wanted: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Those of ``wanted`` that no line after those of the former ones begins with."""
    rest, missing = list(lines), []
    for start in wanted:
        at = next((number for number, line in enumerate(rest) if line.startswith(start)), None)
        if at is None:
            missing.append(start)
        else:
            rest = rest[at + 1 :]
    return missing


def test_the_log_tells_the_whole_story_without_a_secret(server: SimulatedServer, tmp_path: Path) -> None:
    locks: list[str] = []
    frames: list[bytes] = []
    acquire, message = server.model.locks.acquire, server.model.message

    def remember(key: str, expire: float) -> str | None:
        value = acquire(key, expire)
        locks.extend([value] if value else [])
        return value

    def listen(connection: Any, data: bytes) -> bool:
        frames.append(data)
        return message(connection, data)

    server.model.locks.acquire = remember  # type: ignore[method-assign]
    server.model.message = listen  # type: ignore[method-assign]
    hidden = f"Can4ry{secrets.token_hex(8)}"
    (tmp_path / "said").write_text(hidden)
    with Program(server, tmp_path, Start(), log={"level": "DEBUG"}) as program:
        task = server.add_task(name="nightly", command="cat said; exit 3", metadata={"working_dir": str(tmp_path)})
        server.offer(task)
        server.wait_for(task, "failed")
        wait_until(lambda: "confirmed: the server holds the end" in program.log.read_text(), program.log.read_text)
        program.end()
    lines = [json.loads(line) for line in program.log.read_text().splitlines()]
    told = [line["message"] for line in lines]
    of_task = [line for line in lines if line.get("task") == task]
    assert in_order(TASK, [line["message"] for line in of_task]) == []
    assert {line.get("task_name") for line in of_task} == {"nightly"}
    assert in_order(CONNECTION, told) == []
    requests = [line["message"] for line in lines if line["logger"] == "worker.http"]
    assert f"GET /task/{task}/: answered 200 in " in "\n".join(requests)
    assert [
        text for text in requests if text.startswith("GET /lock/acquire: answered 200 in ") and text.endswith(" ms")
    ]
    text = program.log.read_bytes()
    assert len(locks) >= 2
    known = {"api key": server.model.token} | {f"lock {value}": value for value in locks}
    assert leaks(known, {"the log": text}) == []
    assert b"Bearer" not in text
    assert b"Authorization" not in text
    # What a task prints is a body, and no matter of the worker's log.
    assert hidden.encode() in b"".join(frames)
    assert hidden.encode() not in text


def test_why_a_connection_ended_and_that_nobody_answers_is_told(server: SimulatedServer, tmp_path: Path) -> None:
    with Program(server, tmp_path, Start(), log={"level": "DEBUG"}) as program:
        wait_until(lambda: "connected as" in program.log.read_text(), program.log.read_text)
        server.pause()
        refused = "GET /lock/acquire: not answered: the connection was refused"
        wait_until(lambda: refused in program.log.read_text(), program.log.read_text)
        server.resume()
        program.wait_connected()
        wait_until(lambda: program.log.read_text().count("verified") > 1, program.log.read_text)
        program.end()
    told = [json.loads(line)["message"] for line in program.log.read_text().splitlines()]
    story = [
        "verified",
        "closed: ",
        refused,
        "dialling",
        "verified",
    ]
    assert in_order(story, told) == []
