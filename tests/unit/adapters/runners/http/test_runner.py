"""One request, its redirects and retries, and whether its answer is good."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import urllib3

from adapters.runners.http.runner import HttpRunner, explain
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import ExecutionContext
from tests.support.peers_small import answer, http_peer


def asked(respond: Any, limit: float = 20.0, log: Any = lambda _: None, **args: Any) -> Result:
    with http_peer(respond) as peer:
        runner = HttpRunner()
        runner.parse_args("", json.dumps({"url": f"http://127.0.0.1:{peer.port}/x"} | args))
        runner.set_timeout(limit)
        try:
            return runner.execute(ExecutionContext(log=log))
        finally:
            runner.cleanup()


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        (200, [], EndReason.COMPLETED), (304, [], EndReason.COMPLETED), (404, [], EndReason.FAILED),
        (404, [404, 410], EndReason.COMPLETED), (200, [201], EndReason.FAILED),
    ],
)  # fmt: skip
def test_an_answer_is_good_by_its_status(status: int, expected: list[int], reason: EndReason) -> None:
    result = asked(lambda request, _: answer(request, status), expected_status=expected)
    assert (result.end_reason, result.exit_code) == (reason, status)
    if reason is EndReason.FAILED:
        assert result.error.startswith(f"HTTP status {status}")


def test_a_request_is_tried_again_as_often_as_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def wait(_: HttpRunner, seconds: float) -> bool:
        waited.append(seconds)
        return False

    monkeypatch.setattr(HttpRunner, "wait", wait)
    tries: list[bytes] = []

    def respond(request: BaseHTTPRequestHandler, body: bytes) -> None:
        tries.append(body)
        if len(tries) < 3:
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
        else:
            answer(request, 200, b"ok")

    assert asked(respond, retries=1).end_reason is EndReason.FAILED
    assert asked(respond, retries=5).end_reason is EndReason.COMPLETED
    assert (len(tries), waited) == (3, [1.0])


def test_a_stop_before_the_next_try_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(runner: HttpRunner, seconds: float) -> bool:
        runner.stop()
        return True

    monkeypatch.setattr(HttpRunner, "wait", stopped)
    runner = HttpRunner()
    runner.parse_args("", json.dumps({"url": "http://127.0.0.1:1/", "retries": 3}))
    assert runner.execute().end_reason is EndReason.STOPPED


def test_redirects_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(request: BaseHTTPRequestHandler, _: bytes) -> None:
        answer(request, 302, Location="/x")

    result = asked(respond, max_redirects=2)
    assert (result.end_reason, "more than 2 redirects" in result.error) == (EndReason.FAILED, True)
    assert asked(respond, follow_redirects=False).exit_code == 302


def test_a_long_answer_is_cut_and_it_is_told() -> None:
    result = asked(lambda request, _: answer(request, 200, b"x" * 1000), max_response_bytes=100)
    assert (result.truncated, json.loads(result.output)["message"]) == (True, "x" * 100)
    assert "cut after 100 bytes" in result.execute_log
    assert not asked(lambda request, _: answer(request, 200, b"x" * 100), max_response_bytes=100).truncated


def test_a_server_that_is_silent_has_the_time_of_the_task() -> None:
    let_go = threading.Event()

    def respond(request: BaseHTTPRequestHandler, _: bytes) -> None:
        let_go.wait(20)
        request.close_connection = True

    result = asked(respond, limit=0.1)
    let_go.set()
    assert result.end_reason is EndReason.TIMEOUT


def test_an_encoding_that_nobody_asked_for_fails_with_the_remedy() -> None:
    result = asked(lambda request, _: answer(request, 200, b"x", Content_Encoding="br"))
    assert (result.end_reason, result.exit_code, "Accept-Encoding" in result.error) == (EndReason.FAILED, 200, True)


def test_no_log_and_no_error_shows_what_may_be_secret() -> None:
    logged: list[bytes] = []
    runner = HttpRunner()
    runner.parse_args("", json.dumps({"url": "http://ada:s3cret@127.0.0.1:1/x?token=s3cret"}))
    result = runner.execute(ExecutionContext(log=logged.append))
    assert result.end_reason is EndReason.FAILED
    assert "s3cret" not in result.error + result.execute_log + b"".join(logged).decode()


@pytest.mark.parametrize(
    "args",
    [{"url": ""}, {"url": "ftp://h/"}, {"url": "http://"}, {"method": "FLY"}, {"retries": -1}, {"max_redirects": -1},
     {"max_response_bytes": 0}, {"headers": {"a": 1}}],
    ids=json.dumps,
)  # fmt: skip
def test_a_wrong_request_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        HttpRunner().parse_args("", json.dumps({"url": "http://h/"} | args))


def test_a_url_that_is_yet_to_be_filled_is_judged_when_it_is() -> None:
    runner = HttpRunner()
    runner.parse_args("", '{"url": "${BASE}/x"}')
    assert runner.execute(ExecutionContext(environment={"BASE": "ftp://h"})).end_reason is EndReason.INVALID_TASK


def tls_error() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "timeout: no answer in time"), (OSError(111, "Connection refused"), "connection failed: Connection refused"),
        (urllib3.exceptions.ProtocolError("x", ConnectionResetError(104, "Connection reset by peer")), "connection failed: Connection reset by peer"),
        (urllib3.exceptions.IncompleteRead(1, 2), "connection failed: the answer was cut"),
        (tls_error(), "TLS: WRONG_VERSION_NUMBER"), (ValueError("more than 3 redirects"), "ValueError: more than 3 redirects"),
    ],
    ids=lambda it: type(it).__name__,
)  # fmt: skip
def test_what_went_wrong_is_told_in_plain_words(error: Exception, told: str) -> None:
    assert explain(error).startswith(told)
