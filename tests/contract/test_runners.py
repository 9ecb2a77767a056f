"""The runners that ship keep the runner's contract."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.process.supervisor import Supervisor
from adapters.runners.approval import ApprovalRunner
from adapters.runners.base import BaseRunner
from adapters.runners.command import CommandRunner, ProcessOptions
from adapters.runners.database import DatabaseRunner
from adapters.runners.file.runner import FileRunner
from adapters.runners.git import GitOptions, GitRunner
from adapters.runners.http import HttpRunner
from adapters.runners.message import MessageRunner
from adapters.runners.script import ScriptRunner
from adapters.testkit.runner_contract import RunnerCase, RunnerContract
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import Approval, Credential, ExecutionContext
from domain.status import Status
from tests.support.git_peers import Origin

FAST = ProcessOptions(grace=0.5)


def of(**args: Any) -> tuple[str, str]:
    return "", json.dumps(args)


class Sleeper(BaseRunner):
    """The smallest runner, as another team writes one."""

    def parse_args(self, command: str, args: str) -> None:
        try:
            self._seconds = float(command)
        except ValueError:
            raise InvalidTask(f"{command!r} is no number of seconds") from None

    def run(self, context: ExecutionContext) -> Result:
        return self.cancelled() if self.wait(self._seconds) else self.end(EndReason.COMPLETED)


class TestSmallestRunner(RunnerContract):
    @pytest.fixture
    def case(self) -> RunnerCase:
        return RunnerCase(Sleeper, ("0.01", ""), ("soon", ""), ("3600", ""), context=None)


class TestCommandRunner(RunnerContract):
    @pytest.fixture
    def case(self, processes: Supervisor) -> RunnerCase:
        return RunnerCase(lambda: CommandRunner(processes, FAST), ("echo", '["hi"]'), ("", ""), ("sleep 3600", ""))


class TestCommandRunnerAlone(RunnerContract):
    """Without a worker around it."""

    @pytest.fixture
    def case(self) -> RunnerCase:
        return RunnerCase(CommandRunner, ("echo", '["hi"]'), ("", ""), ("exec sleep 3600", ""), context=None)


class TestScriptRunner(RunnerContract):
    @pytest.fixture
    def case(self, processes: Supervisor) -> RunnerCase:
        good = of(language="shell", type="inline", code="echo hi")
        endless = of(language="shell", type="inline", code="sleep 3600")
        return RunnerCase(lambda: ScriptRunner(processes, FAST), good, of(language="cobol"), endless)


class TestGitRunner(RunnerContract):
    """A task that never ends needs a peer that never answers."""

    @pytest.fixture
    def case(self, processes: Supervisor, tmp_path: Path) -> Iterator[RunnerCase]:
        origin = Origin(tmp_path / "origin")
        options = GitOptions(allow_file_urls=True)
        with ScriptedPeer(PeerConnection.wait_closed) as silent:
            yield RunnerCase(
                lambda: GitRunner(processes, FAST, options),
                of(url=origin.url),
                of(url="--upload-pack=x"),
                of(url=f"https://127.0.0.1:{silent.port}/repo.git"),
                ExecutionContext(task_id="t1", working_dir=tmp_path / "work"),
            )


class TestHttpRunner(RunnerContract):
    @pytest.fixture
    def case(self) -> Iterator[RunnerCase]:
        def serve(peer: PeerConnection) -> None:
            if "/good" in peer.read_head():
                peer.answer(200, b"hi")
            else:
                peer.wait_closed()

        with ScriptedPeer(serve) as web:
            at = f"http://127.0.0.1:{web.port}"
            yield RunnerCase(HttpRunner, of(url=f"{at}/good"), of(url=""), of(url=f"{at}/endless"))


class TestFileRunner(RunnerContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> RunnerCase:
        good = of(action="cleanup", path=str(tmp_path), pattern="*.log")
        return RunnerCase(lambda: FileRunner((str(tmp_path),)), good, of(action="sing"))


class TestDatabaseRunner(RunnerContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> RunnerCase:
        count = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT count(*) AS c FROM n"
        )
        base = {"db_type": "sqlite", "database": str(tmp_path / "data.sqlite")}
        return RunnerCase(
            DatabaseRunner,
            of(**base, sql=count.format(10)),
            of(**base, sql=""),
            of(**base, sql=count.format(10**12)),
            ExecutionContext(task_id="t1", working_dir=tmp_path),
        )


class Desk:
    """Answers a question unless its title says otherwise."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def create_approval(self, task_id: str, approval: Approval) -> str:
        if approval.title == "endless":
            self.over.wait(30)
        return "a1"

    def cancel_approval(self, approval_id: str) -> None: ...


class TestApprovalRunner(RunnerContract):
    @pytest.fixture
    def case(self) -> Iterator[RunnerCase]:
        desk = Desk()
        yield RunnerCase(
            ApprovalRunner,
            of(title="good", user_ids=["u1"]),
            of(title=""),
            of(title="endless", user_ids=["u1"]),
            ExecutionContext(task_id="t1", approvals=desk),
            ends_as=Status.RUNNING,  # it goes on at the server
        )
        desk.over.set()


class Keys:
    """The address of a web hook."""

    def __init__(self, port: int) -> None:
        self._at = f"http://127.0.0.1:{port}"

    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, "webhook", "bot", {"webhook": f"{self._at}/{credential_id}"})


class TestMessageRunner(RunnerContract):
    @pytest.fixture
    def case(self) -> Iterator[RunnerCase]:
        def serve(peer: PeerConnection) -> None:
            if "/good" in peer.read_head():
                peer.answer(200, b'{"errcode": 0}')
            else:
                peer.wait_closed()

        with ScriptedPeer(serve) as web:
            yield RunnerCase(
                MessageRunner,
                of(type="webhook", credential_id="good", content="hi"),
                of(type="pigeon", credential_id="c", content="hi"),
                of(type="webhook", credential_id="endless", content="hi"),
                ExecutionContext(task_id="t1", credentials=Keys(web.port)),
            )
