"""Redis commands: what may be asked, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.runners.database.redis import RedisRun, check, database_number
from adapters.runners.database.settings import DatabaseArgs, Login
from domain.errors import InvalidTask, WorkerError


@pytest.mark.parametrize(
    "words",
    [("EXPIRE", "k", "abc"), ("EXPIRE", "k", "10abc"), ("SET", "k", "v", "EX", "x"), ("SET", "k", "v", "EX"),
     ("LRANGE", "k", "a", "1"), ("SCAN", "0", "COUNT"), ("SCAN", "x"), ("CONFIG", "GET", "*"), ("GET",)],
)  # fmt: skip
def test_redis_arguments_that_do_not_fit_are_refused(words: tuple[str, ...]) -> None:
    """D4: a wrong number must not become 0."""
    with pytest.raises(InvalidTask):
        check(words[0], list(words[1:]))


class Wire:
    """Answers commands in order; ``sent`` are those that were asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.sent: list[tuple[str, ...]] = []
        self._sock = Settable()

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def send_command(self, *words: str) -> None:
        self.sent.append(words)

    def read_response(self, **_: Any) -> Any:
        if self.sent[-1] == ("PING",) and len(self.sent) == 1:
            return b"PONG"
        return self._answers.pop(0)


class Settable:
    def settimeout(self, seconds: float | None) -> None: ...


def told(wire: Wire, name: str, *words: str, rows: int = 3) -> tuple[Any, bool]:
    run = RedisRun(DatabaseArgs(db_type="redis", host="h", max_rows=rows), Login(), None)
    run._connection = wire
    return run.run(check(name, list(words)))


def test_keys_are_asked_for_in_portions_and_each_is_told_once() -> None:
    wire = Wire([b"7", [b"a", b"b"]], [b"0", [b"b", b"c"]])
    assert told(wire, "keys", "*", rows=10) == (["a", "b", "c"], False)
    assert [words[:2] for words in wire.sent[1:]] == [("SCAN", "0"), ("SCAN", "7")]


def test_no_more_is_asked_for_than_is_told() -> None:
    wire = Wire([b"7", [b"a", b"b", b"c", b"d"]])
    assert told(wire, "KEYS", "*") == (["a", "b", "c"], True)


def test_the_fields_of_a_hash_are_an_object() -> None:
    assert told(Wire([b"0", [b"f", b"1", b"g", b"\xff"]]), "HGETALL", "h") == ({"f": "1", "g": "base64:/w=="}, False)


@pytest.mark.parametrize(
    ("start", "stop", "asked"),
    [("0", "-1", ("0", "3")), ("-2", "-1", ("-2", "-1")), ("0", "2", ("0", "2")), ("5", "99", ("5", "8"))],
)
def test_of_a_long_range_only_its_beginning_is_asked_for(start: str, stop: str, asked: tuple[str, str]) -> None:
    wire = Wire(10, [b"x"])
    told(wire, "LRANGE", "l", start, stop)
    assert wire.sent[-1] == ("LRANGE", "l", *asked)


def test_answers_have_the_form_that_later_tasks_know() -> None:
    assert told(Wire(1), "EXPIRE", "k", "10") == (True, False)
    assert told(Wire(None), "GET", "k") == (None, False)
    assert told(Wire([b"5", [b"a"]]), "SCAN") == ({"cursor": 5, "keys": ["a"]}, False)


def test_values_are_shown_to_nobody() -> None:
    assert check("SET", ["k", "hunter2", "ex", "5"]).shown == ["k", "***", "***", "***"]
    assert check("hset", ["k", "f", "hunter2"]).shown == ["k", "f", "***"]
    assert check("GET", ["k"]).shown == ["k"]


def test_a_command_is_completed_with_what_it_takes() -> None:
    assert check("scan", ["match", "a*"]).words == ("0", "MATCH", "a*", "COUNT", "10")
    assert check("SET", ["k", "v", "ex", "5", "nx"]).words == ("k", "v", "EX", "5", "NX")


def test_what_redis_says_is_told_with_the_place() -> None:
    import redis

    class Refusing(Wire):
        def read_response(self, **_: Any) -> Any:
            raise redis.ResponseError("NOAUTH Authentication required.")

    with pytest.raises(WorkerError, match="redis h:6379: NOAUTH"):
        told(Refusing(), "GET", "k")


@pytest.mark.parametrize("text", ["a", "-1", "1.5", "12345678"])
def test_a_database_is_a_number(text: str) -> None:
    with pytest.raises(InvalidTask):
        database_number(text)
