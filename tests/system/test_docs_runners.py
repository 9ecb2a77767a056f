"""The examples of the runner pages run as they stand."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.runners.approval import ApprovalRunner
from adapters.runners.command import CommandRunner
from adapters.runners.file.runner import FileRunner
from adapters.runners.http import HttpRunner
from adapters.runners.message import MessageRunner
from adapters.runners.script import ScriptRunner
from domain.result import Result
from domain.runner import Approval, Credential, ExecutionContext, Runner
from domain.status import Status
from tests.support.peers_small import answer, http_peer

ROOT = Path(__file__).parent.parent.parent


def page_text(page: str) -> str:
    return (ROOT / "docs" / "runners" / f"{page}.md").read_text()


def example(page: str, runner: Runner, replaced: tuple[str, str] = ("", ""), **context: Any) -> Result:
    task = json.loads(re.findall(r"```json\n(.*?)```", page_text(page), re.DOTALL)[0].replace(*replaced))
    assert task["category"] == page
    environment = task.get("metadata", {}).get("environment", {}) | context.pop("environment", {})
    runner.parse_args(task.get("command", page), json.dumps(task["args"]))
    runner.set_timeout(task.get("timeout"))
    try:
        return runner.execute(ExecutionContext(environment=environment, **context))
    finally:
        runner.cleanup()


def test_the_script_of_the_page_prints_its_argument() -> None:
    assert json.loads(example("script", ScriptRunner()).output) == {"hello": "Ada"}


def test_the_request_of_the_page_is_sent_and_its_status_expected() -> None:
    seen: list[str] = []

    def respond(request: Any, body: bytes) -> None:
        seen.append(f"{request.command} {request.path} {body.decode()}")
        answer(request, 201, b'{"id": 7}')

    with http_peer(respond) as peer:
        result = example("http", HttpRunner(), environment={"SERVICE": f"http://127.0.0.1:{peer.port}"})
    assert (result.status, json.loads(result.output)["id"]) == (Status.SUCCESS, 7)
    assert seen == ['POST /builds?branch=main {"clean": true}']


@dataclass
class Bot:
    url: str

    def credential(self, credential_id: str) -> Credential:
        value: Mapping[str, Any] = {"webhook": self.url}
        return Credential(credential_id, "webhook", "the bot", value)


def test_the_message_of_the_page_reaches_its_bot() -> None:
    seen: list[Any] = []

    def respond(request: Any, body: bytes) -> None:
        seen.append(json.loads(body)["content"]["text"])
        answer(request, 200, b'{"code": 0}')

    with http_peer(respond) as peer:
        result = example("message", MessageRunner(), credentials=Bot(f"http://127.0.0.1:{peer.port}/hook"))
    assert result.status is Status.SUCCESS
    assert seen == ['<at user_id="ou_1">@ou_1</at> The backup is done.']


@dataclass
class Desk:
    asked: list[Approval] = field(default_factory=list)

    def create_approval(self, task_id: str, approval: Approval) -> str:
        self.asked.append(approval)
        return "a1"

    def cancel_approval(self, approval_id: str) -> None: ...


def test_the_question_of_the_page_is_asked() -> None:
    desk = Desk()
    assert example("approval", ApprovalRunner(), approvals=desk).status is Status.RUNNING
    assert (desk.asked[0].title, desk.asked[0].timeout) == ("Release 2.4?", 7200)


def test_the_command_of_the_page_prints_its_argument() -> None:
    assert example("command", CommandRunner()).output == "Ada has three and a half files\n"


def test_the_cleanup_of_the_page_deletes_what_is_old_and_large(tmp_path: Path) -> None:
    for name, size, days in (("old.log", 2000, 8), ("small.log", 10, 8), ("new.log", 2000, 1), ("old.txt", 2000, 8)):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    result = example("file", FileRunner([str(tmp_path)]), ("/data/logs", str(tmp_path)))
    assert json.loads(result.output)["deleted_files"] == [f"{tmp_path}/old.log (2.0 KB)"]
    assert sorted(os.listdir(tmp_path)) == ["new.log", "old.txt", "small.log"]
