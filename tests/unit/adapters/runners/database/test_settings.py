"""The arguments of a database task (7.5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.runners.database import DatabaseRunner
from adapters.runners.database.settings import DatabaseArgs, Login, login
from domain.errors import InvalidTask
from domain.runner import ExecutionContext
from tests.support.runner_fakes import Keys


@pytest.mark.parametrize("change", [{"db_type": "MySQL"}, {"max_rows": 100001}, {"credential_id": ""}, {"tls": "yes"}])
def test_arguments_are_checked_before_anything_happens(change: dict[str, object]) -> None:
    good = {"db_type": "mysql", "credential_id": "1", "host": "h", "database": "d", "sql": "SELECT 1"}
    with pytest.raises(InvalidTask):
        DatabaseRunner().parse_args("", json.dumps(good | change))


def test_each_database_has_its_usual_port_and_a_task_another_one() -> None:
    assert DatabaseArgs(db_type="redis", host="h").address == ("h", 6379)
    assert DatabaseArgs(db_type="mysql", host="h", port=13306).address == ("h", 13306)


def test_a_limit_that_is_none_is_the_usual_one() -> None:
    assert [DatabaseArgs(max_rows=given).rows for given in (0, -1, 5)] == [10_000, 10_000, 5]


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("api_token", {"token": "t"}, "username_password credential is needed, not api_token"),
        ("username_password", {"password": "p"}, "no username, or no password"),
        ("username_password", {"username": "u"}, "no username, or no password"),
        ("username_password", {"username": "u", "password": 7}, "no username, or no password"),
    ],
)
def test_a_credential_that_does_not_fit_is_refused_without_its_value(
    kind: str, value: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidTask, match=told):
        login(DatabaseArgs(db_type="mysql", credential_id="c1"), ExecutionContext(credentials=Keys(kind, **value)))


def test_redis_may_have_no_user_and_no_password_and_sqlite_needs_no_credential() -> None:
    keys = Keys("username_password")
    assert login(DatabaseArgs(db_type="redis", credential_id="c1"), ExecutionContext(credentials=keys)) == Login()
    assert login(DatabaseArgs(db_type="sqlite"), ExecutionContext()) == Login()
    assert keys.asked == ["c1"]


def test_a_password_is_in_no_text_of_a_login() -> None:
    assert "hunter2" not in repr(Login("u", "hunter2"))
