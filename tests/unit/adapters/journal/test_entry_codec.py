"""One journal entry as text behind a checksum."""

from __future__ import annotations

import json
import zlib

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
