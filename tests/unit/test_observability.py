"""The worker's log and the redactor."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.observability import logs
from adapters.observability.line_writer import LINES
from adapters.observability.logs import inert, set_up
from adapters.observability.metrics import MemoryMetrics
from adapters.observability.redact import RedactedCredentials, Redactor
from domain.errors import ConfigError
from domain.runner import Credential

SECRETS = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=20), max_size=4)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    yield
    root = logging.getLogger("worker")
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.propagate = True
    root.setLevel(logging.NOTSET)


@given(SECRETS, st.text(max_size=30), st.lists(st.integers(1, 7), min_size=1))
def test_no_secret_passes_wherever_the_stream_is_cut(secrets: list[str], noise: str, cuts: list[int]) -> None:  # G65
    redactor = Redactor()
    redactor.add(*secrets)
    data = (noise + noise.join(secrets) + noise).encode("utf-8", "replace")
    stream, out, at, turn = redactor.stream(), b"", 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        out += stream.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    out += stream.flush()
    assert not [secret for secret in secrets if secret.encode() in out.replace(b"***", b"\0")]


@given(st.binary(max_size=60))
def test_without_secrets_nothing_changes(data: bytes) -> None:
    stream = Redactor().stream()
    assert stream.feed(data) + stream.flush() == data


def test_a_secret_is_known_in_all_the_forms_it_travels_in() -> None:
    redactor = Redactor()
    redactor.add('p"ss/wörd+1')
    for text in ('p"ss/wörd+1', json.dumps('p"ss/wörd+1'), quote('p"ss/wörd+1', safe="")):
        assert "rd" not in redactor.text(f"x {text} y")
    for prefix in ("", "a", "ab"):
        encoded = base64.b64encode(f'{prefix}p"ss/wörd+1'.encode()).decode()
        assert redactor.text(encoded).count("***") == 1


@given(
    st.binary(max_size=4), st.text(st.characters(codec="ascii", min_codepoint=33), min_size=6), st.binary(max_size=4)
)
def test_base64_gives_away_no_byte_of_a_secret(before: bytes, secret: str, after: bytes) -> None:  # G65
    redactor = Redactor()
    redactor.add(secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        left = redactor.text(encode(before + secret.encode() + after).decode()).rstrip("=")
        # The mask covers all characters but those that also hold bits of a neighbour.
        assert "***" in left
        assert len(left) - 3 <= (8 * len(before) + 5) // 6 + (8 * len(after) + 5) // 6 + 2


@given(st.integers(0, 20), st.booleans())
def test_a_secret_that_begins_a_longer_one_does_not_show_the_rest(at: int, bytewise: bool) -> None:  # G65
    redactor = Redactor()
    redactor.add("secret", "secret-and-much-more")
    data, stream = b"x secret-and-much-more y", redactor.stream()
    pieces = [data[i : i + 1] for i in range(len(data))] if bytewise else [data[:at], data[at:]]
    assert b"".join(stream.feed(piece) for piece in pieces) + stream.flush() == b"x *** y"


def test_secrets_may_be_added_while_streams_run() -> None:
    redactor = Redactor()
    redactor.add(*(f"secret-value-{number}" for number in range(50)))
    stream, ended = redactor.stream(), threading.Event()

    def add() -> None:
        for number in range(30):
            redactor.add(f"another-{number}")
        ended.set()

    adder = threading.Thread(target=add)
    adder.start()
    while not ended.is_set():
        stream.feed(b"some text secr")
    adder.join()
    assert stream.feed(b" another-29 ").endswith(b"*** ")


def test_a_long_key_costs_little_for_each_line() -> None:  # G65
    redactor = Redactor()
    redactor.add("\n".join(base64.b64encode(bytes([number]) * 48).decode() for number in range(40)))
    stream, data = redactor.stream(), b"an ordinary line of output, nothing special in it\n" * 1000
    stream.feed(data)
    started = time.process_time()
    for at in range(0, len(data), 50):
        stream.feed(data[at : at + 50])
    assert time.process_time() - started < 1


def test_secrets_inside_structures_of_a_credential_are_known() -> None:
    class Source:
        def credential(self, credential_id: str) -> Credential:
            return Credential(
                credential_id, "other", "n", {"keys": [{"deep": "deep-secret"}], "pin": 12345678, "on": True}
            )

    redactor = Redactor()
    RedactedCredentials(Source(), redactor).credential("c")
    assert redactor.text("deep-secret 12345678 True") == "*** *** True"


def test_credentials_are_known_before_they_are_used() -> None:
    class Source:
        def credential(self, credential_id: str) -> Credential:
            return Credential(
                credential_id, "username_password", "db", {"username": "somebody", "password": "hunter2!"}
            )

    redactor = Redactor()
    RedactedCredentials(Source(), redactor).credential("c")
    assert redactor.text("somebody hunter2!") == "somebody ***"


def test_one_event_is_one_json_line_without_secrets() -> None:  # G63, G81
    redactor, out = Redactor(), io.StringIO()
    redactor.add("hunter2-token")
    set_up(redactor, "INFO", "auto", stream=out)
    log = logging.getLogger("worker.x")
    log.debug("not shown")
    try:
        raise ValueError("hunter2-token")
    except ValueError:
        log.exception("bad\nnews\x1b[31m hunter2-token", extra={"task": "t1", "task_name": "n\n1"})
    log.critical("end")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["ERROR", "FATAL"]
    assert (lines[0]["task"], lines[0]["task_name"]) == ("t1", "n\n1")
    assert "ValueError" in lines[0]["traceback"]
    assert "hunter2" not in out.getvalue()


def test_a_line_with_a_task_s_id_alone_has_its_name_too_once_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "NAMES", 1)
    out = io.StringIO()
    set_up(Redactor(), form="json", stream=out)
    log = logging.getLogger("worker.task")
    log.info("early", extra={"task": "t1"})
    for task in ("t1", "t2", "t3"):
        log.info("started", extra={"task": task, "task_name": f"name of {task}"})
    log.error("lost", extra={"task": "t3"})
    log.error("lost", extra={"task": "t1"})
    named = [json.loads(line).get("task_name") for line in out.getvalue().splitlines()]
    assert named == [None, "name of t1", "name of t2", "name of t3", "name of t3", None]


def test_text_for_people_has_who_and_what_on_one_line() -> None:
    out = io.StringIO()
    set_up(Redactor(), "INFO", "text", stream=out)
    logging.getLogger("worker").warning("a\nb\u202e", extra={"task": "12345678-1", "task_name": "nightly"})
    logging.getLogger("worker").info("plain", extra={"task": "87654321-1"})
    first, second = out.getvalue().splitlines()
    assert "WARN  [nightly 12345678] a\\nb\\u202e" in first
    assert second.endswith("INFO  [87654321] plain")


def test_a_file_is_written_and_private(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "worker.log"
    set_up(Redactor(), "INFO", "text", file, stream=io.StringIO())
    logging.getLogger("worker").info("kept")
    assert "kept" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    assert inert(text).isprintable() or not set(inert(text)) & set(map(chr, [*range(32), 127, 0x9B, 0x2028, 0x202E]))


HOSTILE = st.text(
    st.sampled_from('a"\\\n\r\t\x00\x07\x08\x1b]52;c\x7f\x85\x9b\u061c\u200f\u2028\u2029\u202e\u2066\ufeff\ud800')
)


@given(HOSTILE, HOSTILE, HOSTILE, st.sampled_from(["json", "text"]))
def test_one_event_is_one_inert_line_whatever_it_holds(message: str, name: str, task: str, form: str) -> None:  # G81
    out = io.StringIO()
    set_up(Redactor(), "INFO", form, stream=out)
    for _ in range(2):
        logging.getLogger("worker").info("%s", message, extra={"task": task, "task_name": name})
    lines = out.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 2 == len(out.getvalue().splitlines())
    assert not [letter for letter in "".join(lines) if inert(letter) != letter]
    if form == "json":
        assert [json.loads(line)["message"] for line in lines] == [message] * 2


def test_counters_count() -> None:
    metrics = MemoryMetrics()
    metrics.count("a")
    metrics.count("a", 2)
    assert metrics.snapshot() == {"a": 3}


def test_a_line_that_cannot_be_formatted_is_still_one_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    redactor, out = Redactor(), io.StringIO()
    redactor.add("hunter2-token")
    set_up(redactor, "INFO", "json", stream=out)
    logging.getLogger("worker").info("%d seconds", "hunter2-token")
    assert "cannot be formatted: TypeError" in json.loads(out.getvalue())["message"]
    assert capsys.readouterr().err == ""


def test_a_log_file_on_a_full_disk_is_told_once_and_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:  # G63
    redactor, out = Redactor(), io.StringIO()
    redactor.add("hunter2-token")
    set_up(redactor, "INFO", "json", Path("/dev/full"), stream=out)
    for _ in range(3):
        logging.getLogger("worker").info("%s", "hunter2-token")
    messages = [json.loads(line)["message"] for line in out.getvalue().splitlines()]
    assert [text for text in messages if text != "***"] == [
        "log.file: /dev/full cannot be written: [Errno 28] No space left on device"
    ]
    assert len(messages) == 4
    assert capsys.readouterr().err == ""
    set_up(Redactor(), stream=io.StringIO())


def test_nobody_who_logs_waits_for_a_reader_and_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = os.pipe()
    with open(sink, "w") as standard_error, open(source) as reader:
        monkeypatch.setattr(sys, "stderr", standard_error)
        set_up(Redactor(), form="json")
        for number in range(LINES + 5_000):  # a pipe holds 64 KiB
            logging.getLogger("worker").info("%d", number)
        seen: list[int] = []
        missing = 0
        while len(seen) + missing < LINES + 5_000:
            number, *rest = json.loads(reader.readline())["message"].split()
            if rest:
                assert "are missing: nobody read them" in " ".join(rest)
                missing += int(number)
            else:
                seen.append(int(number))
        set_up(Redactor(), stream=io.StringIO())  # ends the thread
    assert missing > 0
    assert seen == sorted(set(seen))


def test_a_task_s_name_is_redacted_in_text_too() -> None:  # G63
    redactor, out = Redactor(), io.StringIO()
    redactor.add("hunter2-token")
    set_up(redactor, "INFO", "text", stream=out)
    logging.getLogger("worker").info("x", extra={"task": "12345678", "task_name": "job hunter2-token"})
    assert "hunter2" not in out.getvalue()


def test_a_rotated_file_is_private_too(tmp_path: Path) -> None:  # G66
    file = tmp_path / "worker.log"
    former = os.umask(0)
    try:
        set_up(Redactor(), "INFO", "json", file, (1, 2), stream=io.StringIO())
        for _ in range(6):
            logging.getLogger("worker").info("x" * 300_000)
    finally:
        os.umask(former)
    assert len(list(tmp_path.iterdir())) == 2
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_log_file_that_cannot_be_written_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"log\.file"):
        set_up(Redactor(), file=tmp_path / "file" / "below.log", stream=io.StringIO())
