"""The example of docs/writing-a-transport.md works as printed."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from application.ports import Identity, Report, Transport
from domain.errors import ConnectionLost
from domain.status import Status

DOCUMENT = Path(__file__).parents[2] / "docs" / "writing-a-transport.md"
TASK_ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"


class Counts:
    def __init__(self) -> None:
        self.invalid = 0

    def count(self, name: str, amount: int = 1) -> None:
        self.invalid += amount


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def transport(tmp_path: Path, counts: Counts) -> Transport:
    code = DOCUMENT.read_text("utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), names)
    made: Transport = names["DropBoxTransport"](tmp_path, counts)
    return made


def test_the_example_receives_events_and_counts_bad_ones(transport: Transport, tmp_path: Path, counts: Counts) -> None:
    transport.connect(Identity("i", "w1"))
    (tmp_path / "in" / "1.json").write_text("nonsense")
    (tmp_path / "in" / "2.json").write_text(json.dumps({"action": "run", "tasks": [{"id": TASK_ID, "category": "c"}]}))
    assert transport.receive(1)[0].tasks[0].id == TASK_ID
    assert counts.invalid == 1
    assert transport.receive(0) == []


def test_the_example_leaves_reports(transport: Transport, tmp_path: Path) -> None:
    transport.connect(Identity("i", "w1"))
    transport.send(Report(TASK_ID, Status.SUCCESS, output="{}"))
    (report,) = (tmp_path / "out").glob("*.json")
    assert json.loads(report.read_bytes())["data"]["status"] == "success"


def test_the_example_is_lost_until_connected(transport: Transport) -> None:
    with pytest.raises(ConnectionLost):
        transport.send(Report(TASK_ID, None))


def test_closing_the_example_wakes_a_reader(transport: Transport) -> None:
    transport.connect(Identity("i", "w1"))
    lost = threading.Event()

    def read() -> None:
        try:
            transport.receive(30)
        except ConnectionLost:
            lost.set()

    thread = threading.Thread(target=read)
    thread.start()
    transport.close()
    thread.join(5)
    assert lost.is_set()
