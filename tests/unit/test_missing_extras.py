"""A task whose optional package is not installed ends as an error that holds the line which installs it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.runners.container import ContainerRunner
from adapters.runners.database import DatabaseRunner
from adapters.runners.file.runner import FileRunner
from adapters.runtime.threads import ThreadRuntime
from application.execution import Contexts, Execution
from application.ports import Offer
from application.runs import Run
from domain.result import EndReason
from domain.runner import Approval, Credential, Runner, RunnerRegistry
from domain.status import Status
from domain.task import Task
from tests.support.dockerapi import FakeDocker

SERVER = {"credential_id": "c", "host": "127.0.0.1", "port": 1, "database": "1", "sql": "SELECT 1"}
LITE = {"db_type": "sqlite", "database": "a.db", "sql": "SELECT 1 AS n"}
CASES: list[tuple[str, str, Callable[[], Runner], dict[str, Any]]] = [
    ("mysql", "pymysql", DatabaseRunner, SERVER | {"db_type": "mysql"}),
    ("postgres", "psycopg", DatabaseRunner, SERVER | {"db_type": "postgresql"}),
    ("redis", "redis", DatabaseRunner, SERVER | {"db_type": "redis", "command": "PING"}),
    ("sql", "sqlalchemy", DatabaseRunner, LITE),
    ("sql", "sqlglot", DatabaseRunner, LITE | {"sql": "WITH n AS (SELECT 1) SELECT * FROM n"}),
    ("sql", "xlsxwriter", DatabaseRunner, LITE | {"export_excel": True}),
    ("sftp", "paramiko", FileRunner, {"action": "stat", "path": "/srv", "host": "127.0.0.1", "credential": "c"}),
    ("docker", "docker", ContainerRunner, {"action": "pull", "image": "busybox"}),
]


class Desk:
    def credential(self, credential_id: str) -> Credential:
        return Credential(credential_id, "username_password", "peer", {"username": "u", "password": "p"})

    def create_approval(self, task_id: str, approval: Approval) -> str:
        raise NotImplementedError

    def cancel_approval(self, approval_id: str) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("extra", "package", "factory", "args"), CASES, ids=[f"{it[0]}-{it[1]}" for it in CASES])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    extra: str, package: str, factory: Callable[[], Runner], args: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("CRONJOB_EXPORT_DIR", str(tmp_path / "out"))
    registry = RunnerRegistry()
    registry.register("it", factory)
    execution = Execution(ThreadRuntime(), registry, Contexts(tmp_path, Desk(), Desk()))
    task = Task("t1", "it", args=json.dumps(args))
    with FakeDocker(tmp_path) as engine, caplog.at_level(logging.ERROR):
        if factory is ContainerRunner:
            task = Task("t1", "it", args=json.dumps(args | {"socket": engine.socket}))
        result = execution.run(Run(task, Offer(task)), lambda _: None)
    assert (result.status, result.end_reason) == (Status.ERROR, EndReason.INTERNAL)
    assert result.error.endswith(f"pip install '.[{extra}]'")
    assert not result.error.startswith("MissingExtra")
    assert caplog.text == ""
