"""What every thread does at the moment."""

from __future__ import annotations

import re
import threading
import uuid

import pytest

from adapters.observability.stacks import stacks


def blocks() -> dict[str, str]:
    """What is told of each thread, by its name."""
    words = re.split(r"^thread (.*):$", stacks(), flags=re.MULTILINE)
    return dict(zip(words[1::2], words[2::2], strict=True))


def calls(block: str) -> list[str]:
    return re.findall(r'^  File ".*", line \d+, in (.*)$', block, flags=re.MULTILINE)


def test_the_innermost_call_of_a_thread_comes_last() -> None:
    found = calls(blocks()[threading.current_thread().name])
    assert found[-3:] == ["test_the_innermost_call_of_a_thread_comes_last", "blocks", "stacks"]


def test_each_thread_has_a_block_that_shows_no_values() -> None:
    let, there, secret = threading.Event(), threading.Event(), uuid.uuid4().hex

    def wait_here(key: str) -> None:
        there.set()
        let.wait(10)
        assert key

    thread = threading.Thread(target=wait_here, args=(secret,), name="the one that waits")
    thread.start()
    assert there.wait(10)
    try:
        block = blocks()["the one that waits"]
    finally:
        let.set()
        thread.join()
    assert any(call.endswith("wait_here") for call in calls(block))
    assert secret not in block


def test_a_thread_that_python_did_not_start_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "enumerate", list)
    assert set(blocks()) >= {str(threading.get_ident())}
