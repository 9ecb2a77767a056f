"""The examples of the runner pages run as they stand, and the tests that the pages name exist."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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
PAGES = sorted(path.stem for path in (ROOT / "docs" / "runners").glob("*.md"))
# Which page tells of which codes: the runner's first letters, and how many there are.
CODES = {"command": ("C", 13), "script": ("S", 9), "http": ("H", 10), "message": ("M", 11), "database": ("D", 12),
         "file": ("F", 13), "git": ("GIT", 11), "container": ("K", 13), "approval": ("A", 6), "README": ("G", 12)}  # fmt: skip
CODE = re.compile(r"\b(?:GIT|[CSHMDFKAG])[1-9]\d*\b")


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


# -- the tables ----------------------------------------------------------------------------------------------------


def sources() -> dict[str, str]:
    """Every test by its name: its decorators, its comments and its text, as far as the next one."""
    found: dict[str, str] = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        for part in re.split(r"\n(?=@|def )", file.read_text()):
            if match := re.search(r"^def (test_\w+)\(", part, re.MULTILINE):
                found[match[1]] = part
    return found


def rows(page: str) -> list[tuple[set[str], list[str], str]]:
    """Of each row of a page's tables that names codes or tests: both, and the whole row."""
    found = []
    for line in page_text(page).splitlines():
        if line.startswith("| "):
            # Numbers of guarantees look like codes of the shared layer; they are higher.
            codes = {code for code in CODE.findall(line.rsplit("|", 2)[0]) if code in known_codes()}
            found.append((codes, re.findall(r"`(test_\w+)`", line), line))
    return [row for row in found if row[0] or row[1]]


def known_codes() -> dict[str, str]:
    """Every code and the page that tells of it."""
    return {f"{front}{number}": page for page, (front, last) in CODES.items() for number in range(1, last + 1)}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`(test_\w+)`", page_text(page))
    assert named
    assert [name for name in named if name not in sources()] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_tells_of_each_defect_of_its_own_and_of_no_other(page: str) -> None:
    front, last = CODES[page]
    told = set().union(*(codes for codes, _, _ in rows(page)))
    assert told == {f"{front}{number}" for number in range(1, last + 1)}


@pytest.mark.parametrize("page", PAGES)
def test_each_defect_has_a_test_that_cites_it_or_a_reason(page: str) -> None:
    known = sources()
    lacking = []
    for codes, tests, line in rows(page):
        for code in sorted(codes):
            cited = rf"\b{code}\b.* of the runners" if page == "README" else rf"\b{code}\b"
            if not any(re.search(cited, known.get(name, "")) for name in tests) and "not fixed" not in line:
                lacking.append(f"{code}: {tests}")
    assert lacking == []


def test_the_index_names_every_page() -> None:
    assert {f"({page}.md)" for page in PAGES} - {"(README.md)"} <= set(re.findall(r"\(\w+\.md\)", page_text("README")))
