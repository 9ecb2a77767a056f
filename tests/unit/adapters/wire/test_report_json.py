"""A report as JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.wire.report_json import decode_report, encode_report
from application.ports import Report, Verb
from domain.result import EndReason
from domain.status import Status

FULL = Report(
    "t", Verb.ENDED, Status.FAILED, EndReason.EXIT_CODE, '{"a":"\u65e5"}', "log\n", "exit status 3", 12, 3,
    "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00",
)  # fmt: skip


@pytest.mark.parametrize("report", [FULL, Report("t", Verb.PROGRESS, output="{}"), Report("t", Verb.HANDED_BACK)])
def test_every_field_survives_the_way_through_json(report: Report) -> None:
    assert decode_report(json.loads(json.dumps(encode_report(report)))) == report


def test_words_come_back_as_words() -> None:
    found = decode_report(json.loads(json.dumps(encode_report(FULL))))
    assert (type(found.verb), type(found.status), type(found.end_reason)) == (Verb, Status, EndReason)


@pytest.mark.parametrize(
    "change",
    [{"verb": "danced"}, {"status": "dancing"}, {"end_reason": "tired"}, {"verb": None}, {"new_key": 1}],
)
def test_what_no_report_gave_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode_report(encode_report(FULL) | change)


@pytest.mark.parametrize("key", ["task_id", "verb", "status", "end_reason"])
def test_a_missing_key_is_refused(key: str) -> None:
    document = encode_report(FULL)
    del document[key]
    with pytest.raises((KeyError, TypeError)):
        decode_report(document)


def test_what_was_given_is_not_changed() -> None:
    document = encode_report(FULL)
    before = dict(document)
    decode_report(document)
    assert document == before
