"""The live log at the API server (protocol 6.5): what is asked, and how a log that may be torn is put right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from adapters.apiserver.task_logs import SETTLE, HttpTaskLogs
from application.ports import LogPiece, Taken
from domain.errors import NotFound, Refused, Unavailable
from tests.support.log_history import History
from tests.support.scripted_api import api, bad, good

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"
LINES = [b"line one\n", b"line two\n", b"line three\n", b"line four\n"]


def piece(text: bytes, offset: int = 0, ended: bool = False, history: History | None = None) -> LogPiece:
    return LogPiece(ID, offset, text, ended, history or History(text))


# --- the requests ---------------------------------------------------------------------------------------------------


def test_append_sends_the_text_once_and_tells_what_the_server_holds() -> None:
    with api(good({"size": 6})) as (client, server):
        assert HttpTaskLogs(client, float).append(piece("caf\u00e9\n".encode())) == Taken(6)
    assert server.lines == [f"POST /api/v1/tasklog/{ID}/append/"]
    assert server.bodies == [{"storage": "", "content": "caf\u00e9\n"}]


@pytest.mark.parametrize("data", [None, {}, {"size": 0}, {"size": "13"}, {"size": True}])
def test_an_append_without_a_size_is_not_confirmed(data: Any) -> None:
    with api(good(data)) as (client, _), pytest.raises(Unavailable):
        HttpTaskLogs(client, float).append(piece(b"x"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_log_outlives_a_key_that_is_being_rotated(status: int) -> None:
    """G56: a refused text would be thrown away."""
    with api(bad(status)) as (client, _):
        logs = HttpTaskLogs(client, float)
        with pytest.raises(Unavailable, match="API key"):
            logs.append(piece(b"x"))
        with pytest.raises(Unavailable, match="API key"):
            logs.read(ID)


def test_a_log_is_not_refused_while_it_is_written_anew_and_the_key_is_being_rotated() -> None:
    with api(good({"content": "torn\n"}), bad(401)) as (client, server):
        logs = HttpTaskLogs(client, float)
        history = History(b"mine\n", left=True)
        history.remember("0")
        with pytest.raises(Unavailable, match="API key"):
            logs.append(piece(b"", 5, ended=True, history=history))
    assert server.lines[-1] == f"PUT /api/v1/tasklog/{ID}/content/"


def test_a_log_that_does_not_exist_is_none_and_its_text_counts_not_its_size() -> None:
    with api(bad(404), good({"size": 99, "content": "h\u00e9"})) as (client, server):
        logs = HttpTaskLogs(client, float)
        assert logs.read(ID) is None
        assert logs.read(ID) == "h\u00e9".encode()
    assert server.lines[0] == f"GET /api/v1/tasklog/{ID}/content/"


@pytest.mark.parametrize("message", ["\u8bf7\u6c42\u53c2\u6570\u9519\u8bef", "content is required"])
def test_a_text_is_refused_for_good_only_in_the_servers_fixed_words(message: str) -> None:
    with api(bad(400, message)) as (client, _), pytest.raises(Refused):
        HttpTaskLogs(client, float).append(piece(b"x"))
    with api(bad(400, "Error 1062: Duplicate entry")) as (client, _), pytest.raises(Unavailable):
        HttpTaskLogs(client, float).append(piece(b"x"))


# --- a log that may be torn ------------------------------------------------------------------------------------------


class LogServer:
    """A Client over one log. ``plan`` says what becomes of the next appends: fine, refused (nothing was done), lost
    (done, and the answer is lost), torn (the log is gone but for the new text, and the answer is lost)."""

    def __init__(self, *plan: str, held: bytes | None = None) -> None:
        self.plan = list(plan)
        self.held = held
        self.writes: list[str] = []

    def get(self, path: str, query: Mapping[str, str] | None = None, **_: Any) -> Any:
        if self.held is None:
            raise NotFound("no log")
        return {"content": self.held.decode()}

    def post(self, path: str, document: Mapping[str, Any] | None = None, **_: Any) -> Any:
        assert document is not None
        fate = self.plan.pop(0) if self.plan else "fine"
        self.writes.append(fate)
        if fate != "refused":
            self.held = (b"" if fate == "torn" else self.held or b"") + document["content"].encode()
        if fate != "fine":
            raise Unavailable("the answer is lost")
        assert self.held is not None
        return {"size": len(self.held)}

    def put(self, path: str, document: Mapping[str, Any], **_: Any) -> Any:
        self.writes.append("anew")
        self.held = document["content"].encode()
        return {}

    def close(self) -> None: ...


class Sender:
    """Delivers a log piece by piece as the worker does: what was not taken comes again."""

    def __init__(self, server: LogServer, history: History | None = None) -> None:
        self.now = 0.0
        self.history = history or History()
        self.offset = 0
        self._logs = HttpTaskLogs(server, lambda: self.now)

    def say(self, text: bytes) -> None:
        self.history.whole += text
        while self.offset < len(self.history.whole):
            self._step(ended=False)

    def end(self) -> int:
        """Returns how many looks it took until the log was settled."""
        for looks in range(1, 20):
            taken = self._step(ended=True)
            if taken is not None and taken.settled and taken.offset == len(self.history.whole):
                return looks
            self.now += taken.after if taken is not None else 1.0
        raise AssertionError("the log is never settled")

    def _step(self, ended: bool) -> Taken | None:
        rest = self.history.whole[self.offset :]
        try:
            taken = self._logs.append(LogPiece(ID, self.offset, rest, ended, self.history))
        except Unavailable:
            return None
        self.offset = taken.offset
        return taken


@pytest.mark.parametrize("fate", ["fine", "refused", "lost", "torn"])
@pytest.mark.parametrize("at", range(len(LINES)))
def test_whatever_becomes_of_one_append_each_line_stands_there_once_and_in_order(fate: str, at: int) -> None:
    server = LogServer(*["fine"] * at, fate)
    sender = Sender(server)
    for line in LINES:
        sender.say(line)
    sender.end()
    assert server.held == b"".join(LINES)


def test_a_log_without_trouble_is_neither_read_nor_written_anew() -> None:
    server = LogServer()
    sender = Sender(server)
    for line in LINES:
        sender.say(line)
    assert sender.end() == 1
    assert server.writes == ["fine"] * len(LINES)


@pytest.mark.parametrize("fate", ["refused", "lost", "torn"])
def test_what_others_wrote_before_stays_where_it_was(fate: str) -> None:
    server = LogServer("fine", fate, held=b"of the server\n")
    sender = Sender(server)
    for line in LINES:
        sender.say(line)
    sender.end()
    assert server.held == b"of the server\n" + b"".join(LINES)


@pytest.mark.parametrize("held", [None, b"", LINES[0], LINES[0] + LINES[1], b"".join(LINES)])
def test_a_log_that_a_previous_run_left_is_looked_at_before_more_is_appended(held: bytes | None) -> None:
    server = LogServer(held=held)
    history = History(b"".join(LINES), left=True)
    history.remember("0")
    sender = Sender(server, history)
    sender.offset = len(LINES[0])
    sender.say(b"")
    sender.end()
    assert server.held == b"".join(LINES)


def test_after_trouble_an_ended_log_is_looked_at_again_when_the_server_has_settled() -> None:
    """A request that was given up may still be worked on there."""
    server = LogServer("lost")
    sender = Sender(server)
    sender.say(LINES[0])
    logs, history = sender._logs, sender.history
    first = logs.append(LogPiece(ID, sender.offset, b"", True, history))
    assert (first.settled, first.after) == (False, SETTLE)
    sender.now += SETTLE
    assert logs.append(LogPiece(ID, sender.offset, b"", True, history)) == Taken(len(LINES[0]))


def test_a_server_that_keeps_another_text_for_good_is_given_up_and_told(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(LogServer):
        def put(self, path: str, document: Mapping[str, Any], **_: Any) -> Any:
            self.writes.append("anew")

    server = Stubborn("torn", held=b"x" * 40)
    history = History(b"".join(LINES), left=True)
    history.remember("0")
    sender = Sender(server, history)
    sender.end()
    assert "the server keeps another text than it was sent" in caplog.text
    assert server.writes.count("anew") > 1
