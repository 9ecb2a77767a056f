"""What a file task may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.runners.file.task import age_of, parse, size_of
from domain.errors import InvalidTask


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("7d", 604_800), (" 12h ", 43_200), ("30m", 1800), ("0d", 0)])
def test_an_age_has_its_unit(text: str, seconds: float) -> None:
    assert age_of(text) == seconds


@pytest.mark.parametrize("text", ["7", "d", "7D", "-7d", "1.5d", "7 d", "7dd", "9999999999d", "٧d", " "])
def test_an_age_that_is_not_understood_is_never_any_age(text: str) -> None:  # F1
    with pytest.raises(InvalidTask, match="older_than"):
        age_of(text)


@pytest.mark.parametrize(("text", "size"), [("", 0), ("10K", 10_240), ("1m", 1 << 20), ("2G", 2 << 30)])
def test_a_size_has_its_unit(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["10", "K", "10KB", "-1K", "1.5M", "10T"])
def test_a_size_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask, match="larger_than"):
        size_of(text)


@pytest.mark.parametrize(
    "args",
    [
        {"action": "fly"}, {"action": "cleanup", "path": "/a"}, {"action": "cleanup", "path": "/a", "pattern": ".."},
        {"action": "cleanup", "path": "/a", "pattern": "a/b"}, {"action": "cleanup", "path": "/a", "pattern": "[a"},
        {"action": "backup", "source": "/a"}, {"action": "stat", "path": " "},
        {"action": "compress", "source": "/a", "format": "rar"}, {"action": "compress", "source": "/a", "level": 10},
        {"action": "stat", "path": "/a", "limit": -1}, {"action": "stat", "path": "/a", "sort_by": "colour"},
        {"action": "backup", "source": "/a", "target": "/b", "keep_days": -1},
        {"action": "stat", "path": "/a", "host": "h"}, {"action": "stat", "path": "/a", "host": "a b", "credential": "c"},
        {"action": "stat", "path": "/a", "host": "a,b", "credential": "c"},
        {"action": "stat", "path": "/a", "host": "h", "credential": "c", "port": 65536},
        {"action": "stat", "path": "/a", "host": "h", "credential": "c", "host_key_check": "no"},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_wrong_task_is_refused_before_any_file_is_touched(args: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        parse(json.dumps(args))


def test_what_was_left_out_is_the_default() -> None:
    found = parse('{"action": "compress", "source": "/a"}')
    assert (found.level, found.port, found.host_key_check, found.sort_by) == (6, 22, "yes", "size")


def test_a_host_may_be_a_name_or_an_address() -> None:
    for host in ("h.example", "10.0.0.1", "::1"):
        assert parse(json.dumps({"action": "stat", "path": "/a", "host": host, "credential": "c"})).host == host
