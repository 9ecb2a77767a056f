"""Mapping between the server's JSON and domain words."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.wire.messages import (
    BadMessage,
    EventDto,
    decode_event,
    decode_task,
    encode_registration,
    encode_report,
    encode_running,
    parse_time,
)
from application.ports import Identity, Offer, Report, Stop, Verb
from domain.result import EndReason
from domain.status import Status
from domain.task import Action

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"
OTHER = "5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12"
WORKER = Identity("5f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c11", "w1", "rack 4", ".", ("default", "command"))


def task(**fields: object) -> dict[str, object]:
    return {"id": ID, "category": "command", "command": "echo hi", "args": '["-n"]', "status": "pending"} | fields


@pytest.mark.parametrize("spelling", [ID.upper(), f"{{{ID}}}", ID.replace("-", ""), f"urn:uuid:{ID}"])
def test_an_id_has_one_spelling(spelling: str) -> None:  # G19
    """Two spellings would be two runs under two locks, and a lock that is never given back."""
    assert decode_task(task(id=spelling)).id == ID


def test_a_task_as_the_server_writes_it_is_read_whole() -> None:
    read = decode_task(
        task(
            name="nightly",
            save_log=True,
            timeout=60,
            cronjob=None,
            time_end=None,
            timeout_at="2026-11-24T03:00:00+08:00",
            metadata={"working_dir": "/srv/app", "worker_select": ["w1"], "environment": {"A": "1"}, "priority": 3},
            future_key={"x": 1},
        )
    )
    assert (read.id, read.name, read.timeout, read.save_log, read.ended) == (ID, "nightly", 60, True, False)
    assert read.timeout_at is not None
    assert read.timeout_at.isoformat() == "2026-11-24T03:00:00+08:00"
    assert (read.metadata.working_dir, read.metadata.worker_select) == ("/srv/app", ("w1",))


@pytest.mark.parametrize("key", ["save_log", "timeout", "command", "status", "id"])
def test_a_wrong_type_is_a_bad_message_and_not_a_guess(key: str) -> None:
    with pytest.raises(BadMessage):
        decode_task(task(**{key: ["false"]}))


@pytest.mark.parametrize(
    "metadata", ["text", 3, {"worker_select": "w1"}, {"worker_select": [1]}, {"worker_select": {"w1": 1}}]
)
def test_an_unreadable_selection_selects_nobody(metadata: object) -> None:  # G21
    read = decode_task(task(metadata=metadata))
    assert read.metadata.problem
    assert not read.is_for(WORKER.id, WORKER.name)


@pytest.mark.parametrize("metadata", [{"environment": {"A": 1}}, {"environment": []}, {"working_dir": 7}])
def test_unreadable_settings_of_a_task_are_told_and_not_dropped(metadata: object) -> None:  # C12
    read = decode_task(task(metadata=metadata))
    assert read.metadata.problem
    assert read.is_for(WORKER.id, WORKER.name)


def test_one_bad_task_does_not_hide_its_neighbours() -> None:  # G50
    found, bad = decode_event(json.dumps({"action": "run", "tasks": [{"id": 7}, task(), None]}).encode())
    assert (found, bad) == ([Offer(decode_task(task()))], 2)


@pytest.mark.parametrize("action", ["run", "retry"])
def test_what_is_to_be_run_is_an_offer(action: str) -> None:
    assert decode_event(json.dumps({"action": action, "tasks": [task()]}).encode())[0] == [Offer(decode_task(task()))]


@pytest.mark.parametrize("action", [Action.STOP, Action.KILL, Action.TIMEOUT])
def test_what_is_to_end_is_a_stop_that_tells_how(action: Action) -> None:
    payload = json.dumps({"action": action.value, "tasks": [task(), task(id=OTHER)]}).encode()
    assert decode_event(payload) == ([Stop(ID, action), Stop(OTHER, action)], 0)


def test_null_tasks_are_no_tasks() -> None:
    assert decode_event(b'{"action":"stop","tasks":null}') == ([], 0)


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b"{", b'{"action":"dance"}', b'{"action":"run","tasks":{}}', b'{"a":NaN}', b"[" * 100_000],
)
def test_nonsense_is_a_bad_message(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_event(payload)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_bad_message(payload: bytes) -> None:
    with contextlib.suppress(BadMessage):
        decode_event(payload)


@pytest.mark.parametrize("text", ["", "0001-01-01T00:00:00Z", "1970-01-01T08:00:00+08:00", "yesterday"])
def test_zero_and_unreadable_times_are_none(text: str) -> None:
    assert parse_time(text) is None


def test_a_time_with_nine_fraction_digits_is_read() -> None:
    assert parse_time("2026-11-23T21:35:40.390661011Z") is not None


def test_running_names_the_worker() -> None:
    event = json.loads(encode_running(ID, WORKER, "KEY"))
    assert event["data"] == {"status": "running", "worker_id": WORKER.id, "worker_name": "w1"}


def test_a_report_is_ascii_and_the_same_each_time() -> None:  # T10
    report = Report(ID, Verb.ENDED, Status.FAILED, output='{"message":"执行失败"}', error="exit status 3", exit_code=3)
    text = encode_report(report, WORKER, "KEY")
    assert text.isascii()
    assert json.loads(text)["data"]["output"] == '{"message":"执行失败"}'
    assert text == encode_report(report, WORKER, "KEY")


BEGAN, ENDED = "2026-11-24T03:00:00.000+08:00", "2026-11-24T03:00:01.500+08:00"
HEAD = f'{{"action":"task_update","worker_id":"{WORKER.id}","task_id":"{ID}","data":'
TAIL = ',"api_key":"KEY","team_id":""}'


@pytest.mark.parametrize(
    ("report", "data"),
    [
        (
            Report(
                ID, Verb.ENDED, Status.SUCCESS, EndReason.COMPLETED, '{"a":1}', "the log", "", 1500, 0, BEGAN, ENDED
            ),
            (
                '{"status":"success","output":"{\\"a\\":1}","time_end":"2026-11-24 03:00:01",'
                '"execute_log":"the log","duration":1500}'
            ),
        ),
        (
            Report(ID, Verb.ENDED, Status.FAILED, EndReason.EXIT_CODE, "{}", error="exit status 3", exit_code=3),
            '{"status":"failed","output":"{}","error":"exit status 3","exit_code":3}',
        ),
        (Report(ID, Verb.PROGRESS, output='{"message":"x"}'), '{"output":"{\\"message\\":\\"x\\"}"}'),
        (Report(ID, Verb.HANDED_BACK), '{"status":"pending"}'),
    ],
    ids=["success", "failure", "progress", "hand back"],
)
def test_on_the_wire_a_report_is_what_it_always_was(report: Report, data: str) -> None:
    """Protocol 5.3: why it ended and when it began have no place there."""
    assert encode_report(report, WORKER, "KEY").decode() == HEAD + data + TAIL


def test_the_registration_carries_the_categories() -> None:
    event = json.loads(encode_registration(WORKER, "KEY"))
    assert event["action"] == "regist_worker"
    assert event["data"]["metadata"] == {"tasks": ["default", "command"]}


def test_the_key_is_in_no_repr() -> None:
    assert "KEY" not in repr(EventDto("task_update", WORKER.id, ID, {}, "KEY"))
