"""Reading tasks over scripted answers (protocol 6.2, 6.3)."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.apiserver.tasks import HttpTasks
from domain.errors import NotFound, Unavailable
from domain.status import Status
from tests.support.scripted_api import api, bad, good

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"


def test_fetch_returns_the_task() -> None:
    with api(good({"id": ID, "category": "command", "status": "pending"})) as (client, server):
        assert HttpTasks(client).fetch(ID).status is Status.PENDING
    assert server.lines == [f"GET /api/v1/task/{ID}/"]


def test_a_missing_task_is_not_found_but_a_wrong_address_is_not() -> None:
    with api(bad(404), (404, b"404 page not found")) as (client, _):
        with pytest.raises(NotFound):
            HttpTasks(client).fetch(ID)
        with pytest.raises(Unavailable):
            HttpTasks(client).fetch(ID)


@pytest.mark.parametrize("data", [None, [], {"id": 7}, {"id": "5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11"}])
def test_an_answer_that_is_not_the_task_is_no_answer(data: Any) -> None:
    with api(good(data)) as (client, _), pytest.raises(Unavailable):
        HttpTasks(client).fetch(ID)


def test_the_tasks_of_a_worker_are_read_page_by_page_and_unreadable_ones_left_out() -> None:
    first = {"count": 502, "results": [{"id": ID, "category": "c", "status": "running"}] * 499 + [{"id": 7}]}
    second = {"count": 502, "results": [{"id": ID, "category": "c", "status": "running"}] * 2}
    with api(good(first), good(second)) as (client, server):
        assert len(HttpTasks(client).of_worker(ID, Status.RUNNING, 1000)) == 501
    assert [line.split("page=")[1][0] for line in server.lines] == ["1", "2"]
    assert "status=running" in server.lines[0]


@pytest.mark.parametrize("data", [{"count": 0, "results": None}, {"results": []}])
def test_a_worker_without_tasks_has_an_empty_list(data: Any) -> None:
    with api(good(data)) as (client, _):
        assert HttpTasks(client).of_worker(ID, None, 10) == []


def test_a_password_in_the_servers_words_stays_out_of_the_error() -> None:
    message = 'Get "http://auth:s3cret@10.0.0.1/me": dial tcp: connection refused'
    with api(bad(503, message)) as (client, _), pytest.raises(Unavailable, match=r"//\*\*\*@10") as caught:
        HttpTasks(client).fetch(ID)
    assert "s3cret" not in str(caught.value)
