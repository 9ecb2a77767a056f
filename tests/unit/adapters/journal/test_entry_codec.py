"""One journal entry as text behind a checksum."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import replace

import pytest

from adapters.journal.entry_codec import decode_entry, encode_entry
from application.ports import Entry, Report, Verb
from domain.result import EndReason
from domain.status import Status

REPORT = Report("t", Verb.ENDED, Status.FAILED, EndReason.EXIT_CODE, '{"a":"\u65e5"}', "log\n", "exit status 3", 12, 3)
FULL = Entry("t", "finished", "n\u00e4me", "command", "token", True, True, REPORT, 5, 77, "boot", 1.5)


def sealed(text: str) -> bytes:
    return f"{zlib.crc32(text.encode()):08x} {text}".encode()


@pytest.mark.parametrize("entry", [FULL, Entry("t", "accepted"), Entry("\u65e5", "running", pid=1)])
def test_what_was_written_is_read(entry: Entry) -> None:
    text = encode_entry(entry)
    assert text.isascii()
    assert decode_entry(entry.task_id.encode(), text.encode()) == entry


def test_no_flipped_bit_is_believed() -> None:  # G9
    record = encode_entry(FULL).encode()
    for at in range(len(record)):
        spoiled = bytearray(record)
        spoiled[at] ^= 0x01
        with pytest.raises(ValueError, match="checksum"):
            decode_entry(b"t", bytes(spoiled))


def test_the_record_of_another_task_is_not_taken() -> None:
    with pytest.raises(ValueError, match="another task"):
        decode_entry(b"u", encode_entry(FULL).encode())


@pytest.mark.parametrize(
    "text", ["[]", "1", "{}", '{"report": null}', '{"report": null, "task_id": "t", "phase": "accepted", "new": 1}']
)
def test_a_record_with_a_right_checksum_and_a_wrong_form_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        decode_entry(b"t", sealed(text))


def test_a_report_of_an_unknown_status_is_refused() -> None:
    document = json.loads(encode_entry(FULL).partition(" ")[2])
    document["report"]["status"] = "dancing"
    with pytest.raises(ValueError, match="dancing"):
        decode_entry(b"t", sealed(json.dumps(document)))


# Records that the journal's first format holds, as its program wrote them.
END, BACK, ASKED = (
    (
        '{"task_id":"t1","phase":"finished","name":"nightly","category":"command","lock_value":"lock-1","save_log":true,'
        '"started":true,"report":{"task_id":"t1","status":"success","output":"{\\"exit_code\\":0}","execute_log":"the log",'
        '"error":"","duration":1500,"exit_code":0,"time_end":"2026-11-24 03:00:01"},"pid":0,"pid_start":0,"boot_id":"",'
        '"finished_at":5.0}'
    ),
    (
        '{"task_id":"t2","phase":"finished","name":"","category":"command","lock_value":"lock-2","save_log":true,'
        '"started":false,"report":{"task_id":"t2","status":"pending","output":null,"execute_log":"","error":"","duration":0,'
        '"exit_code":0,"time_end":""},"pid":0,"pid_start":0,"boot_id":"","finished_at":0.0}'
    ),
    (
        '{"task_id":"t3","phase":"finished","name":"ask","category":"approval","lock_value":"lock-3","save_log":true,'
        '"started":true,"report":{"task_id":"t3","status":null,"output":"{\\"approval\\":\\"1\\"}","execute_log":"","error":"",'
        '"duration":0,"exit_code":0,"time_end":""},"pid":0,"pid_start":0,"boot_id":"","finished_at":0.0}'
    ),
)


def test_an_end_of_the_first_format_is_read(monkeypatch: pytest.MonkeyPatch) -> None:  # G1
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        entry = decode_entry(b"t1", sealed(END))
    finally:
        monkeypatch.undo()
        time.tzset()
    report = Report("t1", Verb.ENDED, Status.SUCCESS, None, '{"exit_code":0}', "the log", "", 1500, 0)
    ended = replace(report, ended_at="2026-11-24T03:00:01+08:00")
    assert entry == Entry("t1", "finished", "nightly", "command", "lock-1", True, True, ended, finished_at=5.0)
    assert decode_entry(b"t1", encode_entry(entry).encode()) == entry


def test_what_was_handed_back_or_goes_on_in_the_first_format_is_read() -> None:
    back, asked = decode_entry(b"t2", sealed(BACK)).report, decode_entry(b"t3", sealed(ASKED)).report
    assert back == Report("t2", Verb.HANDED_BACK)
    assert asked == Report("t3", Verb.PROGRESS, output='{"approval":"1"}')


def test_a_task_that_ran_in_the_first_format_is_read() -> None:
    text = '{"task_id":"t","phase":"running","lock_value":"lock","started":true,"report":null,"pid":7,"pid_start":9}'
    assert decode_entry(b"t", sealed(text)) == Entry("t", "running", token="lock", started=True, pid=7, pid_start=9)
