"""What came back, as the task's output tells it."""

from __future__ import annotations

import json

import pytest

from adapters.runners.http.answer import charset, output_of
from adapters.runners.output import ROOM


def test_a_json_object_passes_with_its_status_added_where_it_has_none() -> None:
    assert json.loads(output_of('{"a": 1}', 201)) == {"status_code": 201, "a": 1}
    assert json.loads(output_of('{"status_code": "mine"}', 201)) == {"status_code": "mine"}


@pytest.mark.parametrize("text", ["", "plain", "[1]", "7", '{"a": NaN}', '{"a":', "[" * 100_000])
def test_everything_else_becomes_a_message(text: str) -> None:
    found = json.loads(output_of(text, 200))
    assert (found["status_code"], found["exit_code"]) == (200, 200)
    assert found["message"] == text or found["truncated"] is True


def test_an_object_that_is_too_large_for_the_output_becomes_a_message_that_is_cut() -> None:
    output = output_of(json.dumps({"a": "x" * ROOM}), 200)
    assert json.loads(output)["truncated"] is True
    assert len(output) < ROOM


def test_an_answer_that_was_cut_on_its_way_says_so() -> None:
    assert json.loads(output_of("half", 200, truncated=True))["truncated"] is True
    assert "truncated" not in json.loads(output_of("whole", 200))


@pytest.mark.parametrize(
    ("header", "name"),
    [("text/plain; charset=latin-1", "latin-1"), ('text/html; x=y; Charset="utf-16"', "utf-16"), ("text/plain", "utf-8"),
     ("text/plain; charset=klingon", "utf-8"), ("", "utf-8"), ("text/plain; charset=", "utf-8")],
)  # fmt: skip
def test_a_character_set_that_nobody_knows_is_utf8(header: str, name: str) -> None:
    assert charset(header) == name
