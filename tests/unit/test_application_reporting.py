"""What later tasks and people see of a result."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.reporting import Reporter, cut_head, cut_tail, output_for
from domain.result import EndReason, Result
from domain.status import Status

LIMIT = 60_000


def result(output: str = "", reason: EndReason = EndReason.COMPLETED, **fields: object) -> Result:
    return Result(reason.status, reason, output=output, **fields)  # type: ignore[arg-type]


def read(output: str, limit: int = LIMIT, **fields: object) -> dict[str, object]:
    value = json.loads(output_for(result(output, **fields), limit))  # type: ignore[arg-type]
    assert isinstance(value, dict)
    return value


def test_a_json_object_passes_with_its_own_keys_and_an_exit_code() -> None:  # T9
    assert read(' {"a": 1} \n') == {"a": 1, "exit_code": 0}
    assert output_for(result('{"exit_code":7}'), LIMIT) == '{"exit_code":7}'


@pytest.mark.parametrize("text", ["plain", "[1]", "null", "3", '"x"', "{broken", '{"a":NaN}', '{"a":-Infinity}'])
def test_everything_else_is_wrapped(text: str) -> None:
    assert read(text) == {"message": text, "exit_code": 0}


def test_half_a_character_is_replaced_before_anything_stores_it() -> None:
    half = r'{"a":"\ud800"}'
    told = Reporter(str, LIMIT).final("t", result(half, error="\udc80x", execute_log="日\udc80"))
    for text in (told.output or "", told.error, told.execute_log):
        assert "\N{REPLACEMENT CHARACTER}" in text
        text.encode()


def test_an_empty_output_says_how_it_ended() -> None:
    assert read("")["message"] == "执行成功"
    assert read("", reason=EndReason.EXIT_CODE, exit_code=3)["message"] == "执行失败"


def test_a_failure_tells_why() -> None:
    document = read("", reason=EndReason.EXIT_CODE, exit_code=3, error="exit status 3", duration=12)
    assert document == {
        "message": "执行失败",
        "exit_code": 3,
        "duration_ms": 12,
        "error": "exit status 3",
        "end_reason": "exit_code",
    }


def test_long_text_is_cut_and_marked() -> None:
    document = read("x" * 20_000)
    assert document["truncated"] is True
    assert str(document["message"]).endswith("x... (truncated)")
    assert len(str(document["message"])) == 10_240 + len("... (truncated)")


def test_an_object_over_the_limit_is_wrapped_and_cut() -> None:  # weakness 23
    document = read(json.dumps({"k": "v" * 70_000}))
    assert document["truncated"] is True


@given(st.text(max_size=3000), st.integers(600, 4000), st.sampled_from(list(EndReason)))
def test_the_limit_holds_in_bytes_for_any_text(text: str, limit: int, reason: EndReason) -> None:
    made = output_for(result(text * 5, reason=reason, error=text[:100]), limit)
    assert len(made.encode("utf-8", "replace")) <= limit
    assert isinstance(json.loads(made), dict)


@given(st.text(max_size=60), st.integers(0, 80))
def test_cuts_keep_whole_characters(text: str, limit: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert text.startswith(cut_head(text, limit))
    assert limit == 0 or text.endswith(cut_tail(text, limit))


def test_a_report_carries_no_secret_and_an_approval_no_status() -> None:
    reporter = Reporter(lambda text: text.replace("hunter2", "***"), LIMIT)
    report = reporter.final("t", result("hunter2", error="hunter2", execute_log="hunter2"))
    assert "hunter2" not in repr(report)
    waiting = Result(Status.RUNNING, EndReason.COMPLETED, output='{"approval_id":"a"}')
    assert reporter.final("t", waiting).status is None
    lost = reporter.without_run("t", EndReason.WORKER_LOST, "worker_lost: gone")
    assert lost.status is Status.ERROR
    assert "worker_lost" in (lost.output or "")


@pytest.mark.parametrize("text", ["   indented\n", "\tx", "a\n\n", " [1] ", "\n", "x \r\n", "\u3000日本\n"])
def test_blanks_and_line_breaks_stay_for_later_tasks(text: str) -> None:
    """runners 1.5: only to find a JSON object are they left out."""
    assert read(text)["message"] == text


REASONS = [it for it in EndReason if it.status not in (Status.SUCCESS, Status.RUNNING)]


@pytest.mark.parametrize("reason", REASONS)
def test_a_json_object_of_a_task_that_failed_goes_with_its_reason_and_error(reason: EndReason) -> None:
    document = read(""" {"rows": 3} """, reason=reason, exit_code=3, error="exit status 3")
    assert document == {"rows": 3, "exit_code": 3, "error": "exit status 3", "end_reason": reason.value}


def test_what_the_task_says_itself_is_never_overwritten() -> None:
    own = {"exit_code": 9, "error": "mine", "end_reason": "because", "a": 1}
    assert read(json.dumps(own), reason=EndReason.EXIT_CODE, exit_code=3, error="exit status 3") == own


def test_an_object_with_a_reason_that_is_over_the_limit_is_wrapped_and_cut_with_it() -> None:
    document = read(json.dumps({"k": "v" * (LIMIT - 60)}), reason=EndReason.TIMEOUT, error="timed out" * 20)
    assert (document["truncated"], document["end_reason"]) == (True, "timeout")


def test_a_question_that_waits_for_its_answer_tells_no_failure() -> None:
    waiting = Result(Status.RUNNING, EndReason.COMPLETED, output='{"approval_id":"a"}')
    assert json.loads(output_for(waiting, LIMIT)) == {"approval_id": "a", "exit_code": 0}
