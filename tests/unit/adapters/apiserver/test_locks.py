"""Locks over scripted answers (protocol 2.1, 6.1)."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.apiserver.locks import HttpGate, HttpLocks
from domain.errors import Unavailable
from tests.support.scripted_api import api, bad, good

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"
VALUE = "4351f9663d8877fea96c90e86b49248e"


def test_acquire_returns_the_servers_value_and_rounds_the_time_up() -> None:
    with api(good({"success": True, "value": VALUE})) as (client, server):
        assert HttpLocks(client).acquire("task:lock:1", 5.2, 3) == VALUE
    assert server.lines == ["GET /api/v1/lock/acquire?key=task%3Alock%3A1&expire=6"]


def test_a_lock_that_somebody_holds_is_none() -> None:
    with api(good({"success": False, "value": ""})) as (client, _):
        assert HttpLocks(client).acquire("k", 5, 3) is None


@pytest.mark.parametrize("data", [None, {}, {"success": True}, {"success": True, "value": "';evil"}, {"success": 1}])
def test_an_unclear_answer_to_acquire_is_no_lock(data: Any) -> None:
    with api(good(data)) as (client, _), pytest.raises(Unavailable):
        HttpLocks(client).acquire("k", 5, 3)


@pytest.mark.parametrize(
    ("answer", "ours"),
    [(good({"success": True}), True), (good({"success": False}), False), (bad(400, "not owned"), False)],
)
def test_refresh_tells_whether_the_lock_is_still_ours(answer: tuple[int, Any], ours: bool) -> None:
    with api(answer) as (client, server):
        assert HttpLocks(client).refresh("k", VALUE, 60, 3) is ours
    assert server.lines[0] == f"GET /api/v1/lock/refresh?key=k&value={VALUE}&expire=60"


@pytest.mark.parametrize("answer", [bad(401), bad(403), bad(404), bad(500), (404, b"404 page not found"), (400, b"")])
def test_trouble_in_refresh_never_says_that_the_lock_is_lost_unless_it_is(answer: tuple[int, Any]) -> None:
    with api(answer) as (client, _):
        if answer == (400, b""):
            assert not HttpLocks(client).refresh("k", VALUE, 60, 3)
        else:
            with pytest.raises(Unavailable):
                HttpLocks(client).refresh("k", VALUE, 60, 3)


def test_releasing_a_lock_that_is_not_ours_is_no_error() -> None:
    text = "failed to release lock: lock not owned by this instance or already released"
    with api(bad(500, text)) as (client, _):
        HttpLocks(client).release("k", VALUE, 3)


@pytest.mark.parametrize("answer", [bad(500, "redis is down"), bad(401), (502, b"")])
def test_a_release_that_was_not_done_is_told(answer: tuple[int, Any]) -> None:
    with api(answer) as (client, _), pytest.raises(Unavailable):
        HttpLocks(client).release("k", VALUE, 3)


@pytest.mark.parametrize("value", ["", "' .. os.exit() .. '", "a\r\nb"])
def test_a_value_that_the_server_never_made_is_not_sent_to_it(value: str) -> None:
    """Protocol 6.1: the server pastes the value into a script."""
    with api(good({"success": True})) as (client, server):
        assert not HttpLocks(client).refresh("k", value, 60, 3)
        HttpLocks(client).release("k", value, 3)
        assert server.lines == []


def test_the_row_of_a_worker_tells_its_name_and_categories() -> None:
    row = {"id": ID, "name": "w1", "description": "", "metadata": {"tasks": ["default", 7], "auth": {}}}
    with api(good(row)) as (client, _):
        identity = HttpGate(client).registered(ID)
    assert (identity.name, identity.tasks) == ("w1", ("default",))


def test_a_lock_that_is_not_ours_is_lost_whatever_words_the_server_has_for_trouble() -> None:
    message = "failed to refresh lock: lock not owned by this instance or already expired"
    with api(bad(400, message)) as (client, _):
        assert HttpLocks(client).refresh("k", VALUE, 5, 3) is False
