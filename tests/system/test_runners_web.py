"""script, http, message, approval: real interpreters, real sockets."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import shutil
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from adapters.net import connections as dialling
from adapters.net.connections import Forbidden, check_address
from adapters.process.supervisor import Supervisor
from adapters.runners.approval import ApprovalRunner
from adapters.runners.http import HttpRunner
from adapters.runners.http.request import safe_url
from adapters.runners.message import MessageRunner
from adapters.runners.script import ScriptRunner
from application.ports import Limits
from application.reporting import output_for
from domain.errors import InvalidTask, NotFound, Unavailable
from domain.result import EndReason, Result
from domain.runner import Approval, Credential, ExecutionContext, Runner
from domain.status import Status
from tests.support.mail_peer import MailBox
from tests.support.peers_small import Served, answer, http_peer


class Keys:
    """Credentials by id."""

    def __init__(self, **known: tuple[str, Mapping[str, Any]]) -> None:
        self._known = known

    def credential(self, credential_id: str) -> Credential:
        if credential_id not in self._known:
            raise NotFound(f"credential {credential_id} is unknown")
        category, value = self._known[credential_id]
        return Credential(credential_id, category, f"{credential_id}-name", value)


def execute(
    runner: Runner, context: ExecutionContext | None = None, timeout: float | None = None, **args: Any
) -> Result:
    runner.parse_args("", json.dumps(args))
    runner.set_timeout(timeout)
    try:
        return runner.execute(context)
    finally:
        runner.cleanup()


def stopped_after(runner: Runner, seconds: float, run: Callable[[], Result]) -> tuple[Result, float]:
    timer = threading.Timer(seconds, runner.stop)
    timer.start()
    began = time.monotonic()
    result = run()
    spent = time.monotonic() - began
    timer.join()
    return result, spent


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return context, str(path)


# -- script


@pytest.mark.parametrize(
    ("language", "code"),
    [("Python", "import sys; print(sys.argv[1])"), ("js", "console.log(process.argv[2])"), ("sh", 'echo "$1"')],
)
def test_a_script_of_each_language_runs_with_its_arguments(
    processes: Supervisor, language: str, code: str
) -> None:  # S7
    if language == "js" and shutil.which("node") is None:
        pytest.skip("node is not installed: `make peers` (nodejs) enables this test")
    result = execute(ScriptRunner(processes), language=language, type="inline", code=code, args=["a b ${X}"])
    assert (result.status, result.output) == (Status.SUCCESS, "a b ${X}\n")


def test_a_failing_script_keeps_its_output_its_code_and_its_streams_apart(processes: Supervisor) -> None:  # S2, S3
    code = "import sys; print('{\"a\": 1}'); print('warning', file=sys.stderr); sys.exit(4)"
    result = execute(ScriptRunner(processes), language="python", type="inline", code=code)
    assert (result.status, result.exit_code, json.loads(result.output)) == (Status.FAILED, 4, {"a": 1})
    assert "warning" in result.execute_log


def test_names_are_replaced_in_arguments_and_not_in_code(processes: Supervisor) -> None:
    context = ExecutionContext(environment={"X": "value"})
    result = execute(
        ScriptRunner(processes), context, language="sh", type="inline", code='echo "$1 ${X}"', args=["${X}"]
    )
    assert result.output == "value value\n"


def test_files_run_only_below_allowed_directories(processes: Supervisor, tmp_path: Path) -> None:  # S5
    allowed, evil = tmp_path / "allow", tmp_path / "allow-evil"
    for directory in (allowed, evil):
        directory.mkdir()
        (directory / "x.sh").write_text("echo ran")
    (allowed / "link.sh").symlink_to(evil / "x.sh")

    def run(path: Path) -> Result:
        return execute(
            ScriptRunner(processes, directories=[str(allowed), ""]), language="sh", type="file", file=str(path)
        )

    assert run(allowed / "x.sh").output == "ran\n"
    for bad in (evil / "x.sh", allowed / "link.sh", allowed / ".." / "allow-evil" / "x.sh", allowed / "missing.sh"):
        result = run(bad)
        assert (result.status, result.end_reason) == (Status.ERROR, EndReason.INVALID_TASK)
        assert "ALLOWED_SCRIPT_DIRS" in result.error


def test_an_inline_script_is_private_and_gone_afterwards(processes: Supervisor) -> None:  # S6
    code = "import os,sys; s=os.stat(sys.argv[0]); print(oct(s.st_mode & 0o777), sys.argv[0])"
    result = execute(ScriptRunner(processes), language="python", type="inline", code=code)
    mode, path = result.output.split()
    assert mode == "0o600"
    assert not Path(path).parent.exists()


def test_a_stopped_script_is_stopped_with_all_it_started(processes: Supervisor) -> None:  # S4, S8
    runner = ScriptRunner(processes)
    result, spent = stopped_after(
        runner, 0.2, lambda: execute(runner, language="sh", type="inline", code="sleep 300 & sleep 300")
    )
    assert (result.status, spent < 2) == (Status.STOPPED, True)
    late = execute(ScriptRunner(processes), timeout=0.2, language="sh", type="inline", code="sleep 4; echo x")
    assert late.status is Status.TIMEOUT


@pytest.mark.parametrize(
    "args", [{"language": "ruby", "type": "inline", "code": "x"}, {"language": "sh", "type": "other"},
             {"language": "sh", "type": "inline"}, {"language": "sh", "type": "file"},
             {"language": "sh", "type": "inline", "code": "x" * 10_241}],
)  # fmt: skip
def test_a_wrong_script_is_refused(args: dict[str, str]) -> None:
    with pytest.raises(InvalidTask):
        ScriptRunner().parse_args("", json.dumps(args))


def test_the_directory_of_a_script_is_made_or_the_task_fails(processes: Supervisor, tmp_path: Path) -> None:  # S9
    (tmp_path / "file").touch()
    args = {"language": "sh", "type": "inline", "code": "pwd"}
    made = execute(ScriptRunner(processes), ExecutionContext(working_dir=tmp_path / "a" / "b"), **args)
    assert made.output.strip() == str(tmp_path / "a" / "b")
    bad = execute(ScriptRunner(processes), ExecutionContext(working_dir=tmp_path / "file"), **args)
    assert (bad.status, bad.end_reason) == (Status.FAILED, EndReason.NO_SUCH_DIRECTORY)
    unset = execute(ScriptRunner(processes), ExecutionContext(default_dir=tmp_path / "a"), **args)
    assert unset.output.strip() == str(Path.cwd())


def test_null_args_crash_nothing() -> None:  # S1
    with pytest.raises(InvalidTask):
        ScriptRunner().parse_args("", "null")


# -- http


def echo(request: Any, body: bytes) -> None:
    document = {
        "method": request.command,
        "path": request.path,
        "body": body.decode(),
        "headers": dict(request.headers),
    }
    answer(request, 200, json.dumps(document).encode(), Content_Type="application/json")


def test_a_request_says_what_the_task_says() -> None:
    with http_peer(echo) as peer:
        result = execute(
            HttpRunner(),
            ExecutionContext(environment={"WHO": "ada"}),
            url=f"http://127.0.0.1:{peer.port}/x?b=2&a=1",
            method="post",
            headers={"X-Who": "${WHO}"},
            query={"a": "9", "z": "${WHO}"},
            body={"n": 9007199254740993, "who": "${WHO}"},
        )
    seen = json.loads(result.output)
    assert (result.status, result.exit_code, seen["status_code"]) == (Status.SUCCESS, 200, 200)
    assert seen["path"] == "/x?a=1&a=9&b=2&z=ada"
    assert json.loads(seen["body"]) == {"n": 9007199254740993, "who": "ada"}
    assert (seen["headers"]["X-Who"], seen["headers"]["Content-Type"]) == ("ada", "application/json")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_each_method_is_sent(method: str) -> None:  # H5
    with http_peer(echo) as peer:
        assert execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/", method=method).status is Status.SUCCESS


def test_an_unexpected_status_fails_and_the_answer_is_kept() -> None:  # H9, H3
    with http_peer(lambda request, _: answer(request, 503, b"the reason")) as peer:
        url = f"http://127.0.0.1:{peer.port}/"
        result = execute(HttpRunner(), url=url)
        assert (result.status, result.exit_code) == (Status.FAILED, 503)
        assert json.loads(result.output)["message"] == "the reason"
        assert execute(HttpRunner(), url=url, expected_status=[503]).status is Status.SUCCESS
        assert execute(HttpRunner(), url=url, expected_status=[200]).status is Status.FAILED


def test_redirects_are_followed_counted_and_switched_off() -> None:  # H6
    def respond(request: Any, _: bytes) -> None:
        if request.path == "/loop":
            answer(request, 302, Location="/loop")
        elif request.path == "/go":
            answer(request, 302, Location="/end")
        else:
            answer(request, 200, request.command.encode())

    with http_peer(respond) as peer:
        base = f"http://127.0.0.1:{peer.port}"
        assert json.loads(execute(HttpRunner(), url=f"{base}/go", method="POST").output)["message"] == "GET"
        assert execute(HttpRunner(), url=f"{base}/loop", max_redirects=3).status is Status.FAILED
        assert execute(HttpRunner(), url=f"{base}/go", follow_redirects=False, expected_status=[302]).exit_code == 302


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/grün?q=任务".encode(), "/gr%C3%BCn?q=%E4%BB%BB%E5%8A%A1"),
        (b"/gr%C3%BCn", "/gr%C3%BCn"),
        (b"/gr\xfcn", "/gr%FCn"),
        (b"/plain", "/plain"),
    ],
)
def test_a_redirect_leads_where_its_bytes_say(location: bytes, asked: str) -> None:
    seen: list[str] = []

    def respond(request: Any, _: bytes) -> None:
        seen.append(request.path)
        if request.path == "/go":
            answer(request, 302, Location=location.decode("latin-1"))
        else:
            answer(request, 200, b"there")

    with http_peer(respond) as peer:
        assert execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/go").status is Status.SUCCESS
    assert seen == ["/go", asked]


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:  # G69
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with http_peer(echo) as peer:
        assert execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/").status is Status.SUCCESS


def test_the_name_of_a_host_is_not_told_to_another() -> None:
    with http_peer(echo) as target:
        other = f"http://localhost:{target.port}/there"
        with http_peer(lambda request, _: answer(request, 307, Location=other)) as first:
            result = execute(HttpRunner(), url=f"http://127.0.0.1:{first.port}/", headers={"Host": "inner.example.com"})
        assert json.loads(result.output)["headers"]["Host"] == f"localhost:{target.port}"


def test_values_of_one_name_keep_their_order_and_their_bytes() -> None:
    with http_peer(echo) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/?t=z&b=%ff&t=a", query={"c": "1"})
    assert json.loads(result.output)["path"] == "/?b=%FF&c=1&t=z&t=a"


def test_credentials_stay_with_their_host() -> None:  # H10, G69
    keys = Keys(basic=("username_password", {"username": "u", "password": "p"}), token=("api_token", {"token": "t0k"}))
    with http_peer(echo) as target:
        other = f"http://localhost:{target.port}/there"
        with http_peer(lambda request, _: answer(request, 307, Location=other)) as first:
            result = execute(
                HttpRunner(),
                ExecutionContext(credentials=keys),
                url=f"http://127.0.0.1:{first.port}/",
                credential_id="token",
            )
            assert "Authorization" not in json.loads(result.output)["headers"]
        for identity, header in (("basic", "Basic dTpw"), ("token", "Bearer t0k")):
            result = execute(
                HttpRunner(),
                ExecutionContext(credentials=keys),
                url=f"http://127.0.0.1:{target.port}/",
                credential_id=identity,
            )
            assert json.loads(result.output)["headers"]["Authorization"] == header


def test_tls_is_verified_unless_said_otherwise(authority: tuple[ssl.SSLContext, str]) -> None:  # G68
    context, ca_file = authority
    with http_peer(echo, context) as peer:
        url = f"https://127.0.0.1:{peer.port}/"
        refused = execute(HttpRunner(), url=url)
        assert refused.status is Status.FAILED
        assert "TLS" in refused.error
        assert execute(HttpRunner(), url=url, ca_file=ca_file).status is Status.SUCCESS
        assert execute(HttpRunner(), url=url, verify_tls=False).status is Status.SUCCESS


def test_an_answer_is_bounded_after_unpacking() -> None:  # G74, H2
    bomb = gzip.compress(b"\0" * 50_000_000)
    with http_peer(lambda request, _: answer(request, 200, bomb, Content_Encoding="gzip")) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/", max_response_bytes=10_000)
    assert len(result.output) < 100_000


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("how", ["head", "drip"])
def test_a_peer_that_never_ends_its_answer_is_left_at_stop_and_time_out(
    how: str, secure: bool, authority: tuple[ssl.SSLContext, str]
) -> None:  # H1
    released = threading.Event()

    def respond(request: Any, _: bytes) -> None:
        request.send_response(200)
        request.end_headers()
        while not released.wait(0.05):
            if how == "drip":
                request.wfile.write(b"x")

    with http_peer(respond, authority[0] if secure else None) as peer:
        where = {"url": f"http{'s' if secure else ''}://127.0.0.1:{peer.port}/", "ca_file": authority[1]}
        runner = HttpRunner()
        result, spent = stopped_after(runner, 0.3, lambda: execute(runner, **where))
        assert (result.status, spent < 1.3) == (Status.STOPPED, True)
        began = time.monotonic()
        assert execute(HttpRunner(), timeout=0.5, **where).status is Status.TIMEOUT
        assert time.monotonic() - began < 1.5
        released.set()


def test_a_name_that_is_never_resolved_holds_no_stopped_request(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    runner = HttpRunner()
    result, spent = stopped_after(runner, 0.2, lambda: execute(runner, url="http://slow.example/"))
    released.set()
    assert (result.status, spent < 1.2) == (Status.STOPPED, True)


def test_an_address_that_never_answers_costs_one_wait_and_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "PATIENCE", 0.2)
    with http_peer(lambda request, _: answer(request, 200, b"{}")) as peer, contextlib.ExitStack() as stack:
        dead = stack.enter_context(socket.create_server(("127.0.0.2", peer.port), backlog=0))
        for _ in range(3):  # what does not fit into its queue is dropped
            line = stack.enter_context(socket.socket())
            line.setblocking(False)
            line.connect_ex(dead.getsockname())
        both = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (f"127.0.0.{last}", peer.port)) for last in (2, 1)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        result = execute(HttpRunner(), timeout=5, url=f"http://both.example.com:{peer.port}/")
    assert result.status is Status.SUCCESS, result.error


def test_the_kinds_of_addresses_take_turns() -> None:
    answers = [(socket.AF_INET6, 1), (socket.AF_INET6, 2), (socket.AF_INET6, 3), (socket.AF_INET, 4)]
    assert [number for _, number in dialling.by_turns(answers)] == [1, 4, 2, 3]


def test_no_log_of_a_library_shows_the_secrets_of_a_request(caplog: pytest.LogCaptureFixture) -> None:  # G63
    before = logging.getLogger("urllib3").level
    logging.getLogger("urllib3").setLevel(logging.NOTSET)
    try:
        with caplog.at_level(0), http_peer(echo) as peer:
            execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/?key=hunter2")
    finally:
        logging.getLogger("urllib3").setLevel(before)
    assert "hunter2" not in caplog.text


def test_user_and_password_of_the_url_are_sent_and_not_shown() -> None:  # H4
    logs: list[bytes] = []
    with http_peer(echo) as peer:
        url = f"http://me:hunter%21@127.0.0.1:{peer.port}/"
        result = execute(HttpRunner(), ExecutionContext(log=logs.append), url=url)
    assert json.loads(result.output)["headers"]["Authorization"] == "Basic bWU6aHVudGVyIQ=="
    assert b"hunter" not in b"".join(logs)


def test_a_header_may_hold_any_character() -> None:
    seen: list[str] = []

    def respond(request: Any, _: bytes) -> None:
        seen.append(request.headers["X-Name"].encode("latin-1").decode())
        answer(request, 200)

    with http_peer(respond) as peer:
        execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/", headers={"X-Name": "任务"})
    assert seen == ["任务"]


def test_an_answer_that_was_cut_says_so() -> None:  # H2
    with http_peer(lambda request, _: answer(request, 200, b"x" * 1000)) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/", max_response_bytes=10)
    assert (result.truncated, json.loads(result.output)["message"]) == (True, "x" * 10)
    assert json.loads(result.output)["truncated"] is True
    assert "max_response_bytes" in result.execute_log


@pytest.mark.parametrize("body", [b"x" * 100_000, json.dumps({"a": "x" * 100_000}).encode()])
def test_a_long_answer_keeps_the_keys_of_the_output(body: bytes) -> None:
    with http_peer(lambda request, _: answer(request, 200, body)) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/")
    found = json.loads(output_for(result, Limits().output_limit))
    assert found == {"status_code": 200, "exit_code": 200, "truncated": True, "message": found["message"]}
    assert found["message"] == body.decode()[:10_240] + "... (truncated)"


def test_a_long_answer_full_of_escapes_keeps_them_too() -> None:
    with http_peer(lambda request, _: answer(request, 200, bytes(100_000))) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/")
    found = json.loads(output_for(result, Limits().output_limit))
    assert (found["status_code"], found["truncated"], found["message"][:5000]) == (200, True, "\0" * 5000)


def test_an_answer_that_is_no_strict_json_is_a_text() -> None:
    with http_peer(lambda request, _: answer(request, 200, b'{"a": NaN}')) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/")
    assert json.loads(result.output)["message"] == '{"a": NaN}'


def test_a_failed_request_is_tried_again_only_when_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/?key=hunter2"
    result = execute(HttpRunner(), url=url)
    assert (result.status, result.exit_code) == (Status.FAILED, -1)
    assert "hunter2" not in result.error + result.execute_log  # H4
    logs: list[bytes] = []
    execute(HttpRunner(), ExecutionContext(log=logs.append), url=url, retries=1)
    assert sum(b"trying again" in line for line in logs) == 1


@pytest.mark.parametrize("end", ["stop", "limit"])
def test_a_request_that_waits_for_its_next_try_ends_as_it_was_told(end: str) -> None:  # H1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    runner = HttpRunner()

    def log(data: bytes) -> None:
        if end == "stop" and b"trying again" in data:
            runner.stop()

    result = execute(runner, ExecutionContext(log=log), timeout=None if end == "stop" else 0.2, url=url, retries=3)
    assert result.status is (Status.STOPPED if end == "stop" else Status.TIMEOUT)


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "100.100.100.200",
        "2002:a9fe:a9fe::",
        "fd00:ec2::23",
        "fd20:ce::254",
        "168.63.129.16",
        "192.0.0.192",
    ],
)
def test_metadata_services_are_not_asked(text: str) -> None:  # G73, H7
    with pytest.raises(Forbidden):
        check_address(text, public_only=False)


@pytest.mark.parametrize("text", ["64:ff9b::a9fe:a9fe", "::a9fe:a9fe"])
def test_metadata_services_are_not_asked_through_another_network(text: str) -> None:  # G73
    with pytest.raises(Forbidden):
        check_address(text, False)


@pytest.mark.parametrize(
    "host", ["2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "me@169.254.169.254"]
)
def test_no_other_spelling_of_an_address_leads_to_it(host: str) -> None:  # G73
    result = execute(HttpRunner(), timeout=5, url=f"http://{host}/latest/")
    assert (result.status, "not asked" in result.error) == (Status.FAILED, True)


def test_a_redirect_to_a_metadata_service_is_not_followed() -> None:  # G73
    with http_peer(lambda request, _: answer(request, 302, Location="http://169.254.169.254/")) as peer:
        result = execute(HttpRunner(), timeout=5, url=f"http://127.0.0.1:{peer.port}/")
    assert (result.status, "not asked" in result.error) == (Status.FAILED, True)


def test_a_name_that_leads_to_a_forbidden_address_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:  # G73
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
    assert "not asked" in execute(HttpRunner(), timeout=5, url="http://innocent.example/").error


def test_only_public_addresses_where_that_is_wanted() -> None:
    check_address("127.0.0.1", public_only=False)
    for text in ("127.0.0.1", "10.0.0.1", "0.0.0.0", "::1", "::ffff:10.0.0.1"):
        with pytest.raises(Forbidden):
            check_address(text, public_only=True)
    runner = HttpRunner(public_only=True)
    assert "not a public one" in execute(runner, url="http://2130706433:1/").error  # 127.0.0.1 as one number


def test_a_shown_url_holds_no_secret() -> None:
    assert safe_url("https://u:p@[::1]:8/x?token=abc&a=") == "https://[::1]:8/x?token=***&a=***"


@pytest.mark.parametrize(
    "args", [{}, {"url": "ftp://x"}, {"url": "http://x", "method": "BREW"}, {"url": "http://x", "retries": -1}]
)
def test_a_wrong_request_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        HttpRunner().parse_args("", json.dumps(args))


@pytest.mark.parametrize("url", ["http://", "http://a:99999/", "http://a:b/", "http://[::1", "http://a:0/"])
def test_a_url_that_names_no_peer_is_refused(url: str) -> None:
    with pytest.raises(InvalidTask, match="url"):
        HttpRunner().parse_args("", json.dumps({"url": url}))
    context = ExecutionContext(environment={"URL": url})
    assert execute(HttpRunner(), context, url="${URL}").end_reason is EndReason.INVALID_TASK


def test_a_failed_connection_says_so_in_the_words_that_the_server_sorts_by() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    assert "connection failed: Connection refused" in execute(HttpRunner(), url=url).error


def test_a_redirect_to_another_scheme_is_not_followed() -> None:
    with http_peer(lambda request, _: answer(request, 302, Location="file:///etc/passwd")) as peer:
        result = execute(HttpRunner(), url=f"http://127.0.0.1:{peer.port}/")
    assert (result.status, "redirect" in result.error) == (Status.FAILED, True)


def test_a_header_with_a_line_break_is_refused() -> None:
    result = execute(HttpRunner(), url="http://127.0.0.1:1/", headers={"X": "a\r\nY: b"})
    assert result.end_reason is EndReason.INVALID_TASK


# -- message


def mail(port: int, **more: Any) -> Keys:
    value = {"smtp_host": "127.0.0.1", "smtp_port": str(port), "username": "me@here.org", "password": "hunter2"} | more
    return Keys(mail=("email", value))


MAIL: dict[str, Any] = {
    "type": "email",
    "credential_id": "mail",
    "subject": "Grüße",
    "content": "Hallo",
    "to": ["a@b.org"],
}


def test_a_mail_goes_out_encrypted_with_all_its_parts(authority: tuple[ssl.SSLContext, str]) -> None:  # M2, M5, M1
    with MailBox(authority[0]) as box:
        context = ExecutionContext(credentials=mail(box.port, from_name="Cron"))
        more = {"cc": ["c@b.org"], "bcc": ["d@b.org"], "attachments": [{"name": "n.txt", "content": "attached"}]}
        result = execute(MessageRunner(ca_file=authority[1]), context, **MAIL, **more)
    assert result.status is Status.SUCCESS, result.error
    recipients, text = box.mails[0]
    assert (recipients, box.encrypted) == (["a@b.org", "c@b.org", "d@b.org"], [True])
    assert "Cc: c@b.org" in text
    assert "d@b.org" not in text
    assert "n.txt" in text


def test_without_verified_encryption_no_mail_and_no_password_goes_out(
    authority: tuple[ssl.SSLContext, str],
) -> None:  # M5
    for box, expected in ((MailBox(), "STARTTLS"), (MailBox(authority[0]), "TLS")):
        with box:
            result = execute(MessageRunner(), ExecutionContext(credentials=mail(box.port)), **MAIL)
        assert result.status is Status.FAILED
        assert expected in result.error
        assert box.mails == []


def test_a_wrong_password_fails_and_is_not_shown(authority: tuple[ssl.SSLContext, str]) -> None:  # M4
    with MailBox(authority[0]) as box:
        context = ExecutionContext(credentials=mail(box.port, password="not-the-0ne"))
        result = execute(MessageRunner(ca_file=authority[1]), context, **MAIL)
    assert (result.status, box.mails) == (Status.FAILED, [])
    assert result.error == "the mail server refused user and password"
    assert "not-the-0ne" not in result.error


def test_a_recipient_that_is_refused_is_a_failure() -> None:
    with MailBox(refuse="x@b.org") as box:
        context = ExecutionContext(credentials=mail(box.port, use_tls=False, password=""))
        result = execute(MessageRunner(), context, **MAIL | {"to": ["a@b.org", "x@b.org"]})
        alone = execute(MessageRunner(), context, **MAIL | {"to": ["x@b.org"]})
    assert result.status is Status.FAILED
    assert "x@b.org (550 no such user)" in result.error
    assert "x@b.org (550 no such user)" in alone.error


def test_a_password_that_mail_cannot_carry_is_told_without_being_shown(
    authority: tuple[ssl.SSLContext, str],
) -> None:  # G63
    with MailBox(authority[0]) as box:
        context = ExecutionContext(credentials=mail(box.port, password="h\ud800nter2"))
        result = execute(MessageRunner(ca_file=authority[1]), context, **MAIL)
    assert result.end_reason is EndReason.INVALID_TASK
    assert "half a character" in result.error
    assert "nter2" not in repr(result)


def senders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "message"]


def test_a_mail_server_that_never_shakes_hands_keeps_no_thread_after_a_stop() -> None:  # M6
    released = threading.Event()

    class Mute(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for words in (b"220 here\r\n", b"250-here\r\n250 STARTTLS\r\n", b"220 go\r\n"):
                self.wfile.write(words)
                self.rfile.readline()
            released.wait(20)

    with Served(Mute) as server:
        runner = MessageRunner()
        context = ExecutionContext(credentials=mail(server.port))
        result, spent = stopped_after(runner, 0.3, lambda: execute(runner, context, **MAIL))
        assert (result.status, spent < 1.3, senders()) == (Status.STOPPED, True, [])
        released.set()


CHAT: dict[str, Any] = {"credential_id": "hook", "content": "up", "at_user_ids": ["u1", "<x>"], "at_mobiles": ["1"]}
GOOD = {
    "wechat_work_bot": {"errcode": 0},
    "dingtalk_bot": {"errcode": 0},
    "feishu_bot": {"code": 0},
    "slack": {},
    "webhook": {},
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_chat_message_is_sent_and_its_answer_is_checked(kind: str) -> None:  # M7, M9
    seen: list[dict[str, Any]] = []

    def respond(request: Any, body: bytes) -> None:
        seen.append({"path": request.path, "body": json.loads(body)})
        answer(request, 200, json.dumps(GOOD[kind]).encode())

    with http_peer(respond) as peer:
        value = {"webhook": f"http://127.0.0.1:{peer.port}/hook?key=hunter2", "secret": "s3cret-sign"}
        context = ExecutionContext(credentials=Keys(hook=("webhook", value)))
        assert execute(MessageRunner(), context, type=kind, **CHAT).status is Status.SUCCESS
    text = json.dumps(seen)
    assert "up" in text
    assert "<x>" not in text or kind in ("wechat_work_bot", "dingtalk_bot")
    assert ("sign" in text) == (kind in ("feishu_bot", "dingtalk_bot"))


@pytest.mark.parametrize("kind", ["wechat_work_bot", "feishu_bot", "dingtalk_bot", "slack"])
def test_a_refusal_fails_and_shows_no_secret(kind: str) -> None:  # M4, M7, M11
    status = 500 if kind == "slack" else 200
    with http_peer(lambda request, _: answer(request, status, b'{"errcode": 93000, "code": 19001}')) as peer:
        value = {"webhook": f"http://127.0.0.1:{peer.port}/hook?key=hunter2"}
        result = execute(
            MessageRunner(), ExecutionContext(credentials=Keys(hook=("webhook", value))), type=kind, **CHAT
        )
    assert result.status is Status.FAILED
    assert result.error
    assert "hunter2" not in repr(result)


def test_the_log_counts_characters_and_each_line_has_its_end() -> None:  # M10
    logs: list[bytes] = []
    with http_peer(lambda request, _: answer(request, 200)) as peer:
        keys = Keys(hook=("webhook", {"webhook": f"http://127.0.0.1:{peer.port}/"}))
        context = ExecutionContext(credentials=keys, log=logs.append)
        execute(MessageRunner(), context, type="slack", credential_id="hook", content="备份完成")
    assert b"4 characters" in logs[0]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in logs)


def test_wechat_work_tells_who_was_missed() -> None:
    def respond(request: Any, _: bytes) -> None:
        token = {"errcode": 0, "access_token": "t"}
        sent = {"errcode": 0, "invaliduser": "bob"}
        answer(request, 200, json.dumps(token if "gettoken" in request.path else sent).encode())

    with http_peer(respond) as peer:
        value = {"corp_id": "corp-id-123", "corp_secret": "hunter2", "agent_id": "7"}
        result = execute(
            MessageRunner(wechat=f"http://127.0.0.1:{peer.port}"),
            ExecutionContext(credentials=Keys(w=("wechat_work", value))),
            type="wechat_work", credential_id="w", content="hi", to_user="bob|eve",
        )  # fmt: skip
    assert result.status is Status.FAILED
    assert "bob" in result.error


WECHAT_TASK = {"type": "wechat_work", "credential_id": "w", "content": "hi", "to_user": "bob"}
WECHAT_KEYS = Keys(w=("wechat_work", {"corp_id": "corp-id-123", "corp_secret": "hunter2", "agent_id": 7}))


def test_wechat_work_is_asked_for_a_token_once_and_again_when_it_expired() -> None:  # M8
    paths: list[str] = []
    replies = iter([0, 42001, 0])

    def respond(request: Any, _: bytes) -> None:
        paths.append(request.path.split("?")[0].rpartition("/")[2])
        token = {"errcode": 0, "access_token": "t", "expires_in": 7200}
        body = token if paths[-1] == "gettoken" else {"errcode": next(replies)}
        answer(request, 200, json.dumps(body).encode())

    with http_peer(respond) as peer:
        for _ in range(2):
            runner = MessageRunner(wechat=f"http://127.0.0.1:{peer.port}")
            assert execute(runner, ExecutionContext(credentials=WECHAT_KEYS), **WECHAT_TASK).status is Status.SUCCESS
    assert paths == ["gettoken", "send", "send", "gettoken", "send"]


def test_a_stop_before_the_message_is_sent_really_stops_it() -> None:  # M6
    paths: list[str] = []

    def respond(request: Any, _: bytes) -> None:
        paths.append(request.path.split("?")[0].rpartition("/")[2])
        runner.stop()
        answer(request, 200, b'{"errcode": 0, "access_token": "t", "expires_in": 7200}')

    with http_peer(respond) as peer:
        runner = MessageRunner(wechat=f"http://127.0.0.1:{peer.port}")
        result = execute(runner, ExecutionContext(credentials=WECHAT_KEYS), **WECHAT_TASK)
    assert (result.status, paths) == (Status.STOPPED, ["gettoken"])


@pytest.mark.parametrize("url", ["ftp://x/", "nothing", "http://169.254.169.254/latest/"])
def test_a_webhook_that_may_not_be_asked_fails_without_showing_it(url: str) -> None:
    context = ExecutionContext(credentials=Keys(hook=("webhook", {"webhook": url + "?key=hunter2"})))
    result = execute(MessageRunner(), context, type="slack", **CHAT)
    assert result.status in (Status.FAILED, Status.ERROR)
    assert "hunter2" not in repr(result)


def test_an_attachment_that_is_not_base64_is_the_authors_mistake() -> None:
    context = ExecutionContext(credentials=mail(1))
    result = execute(MessageRunner(), context, **(MAIL | {"attachments": [{"name": "a.bin", "base64": "!"}]}))
    assert (result.end_reason, "a.bin" in result.error) == (EndReason.INVALID_TASK, True)


def test_an_attachment_with_a_strange_name_is_the_authors_mistake() -> None:
    context = ExecutionContext(credentials=mail(1))
    result = execute(MessageRunner(), context, **(MAIL | {"attachments": [{"name": "a\nb", "content": "x"}]}))
    assert (result.end_reason, "no name of a file" in result.error) == (EndReason.INVALID_TASK, True)


def test_mentions_that_a_service_does_not_know_are_told() -> None:
    lines: list[bytes] = []
    with http_peer(lambda request, _: answer(request, 200, b'{"errcode": 0}')) as peer:
        keys = Keys(hook=("webhook", {"webhook": f"http://127.0.0.1:{peer.port}/"}))
        for kind in ("markdown", "text"):
            args = CHAT | {"type": "wechat_work_bot", "content_type": kind, "is_at_all": True}
            execute(MessageRunner(), ExecutionContext(credentials=keys, log=lines.append), **args)
    assert sum(b"mentions nobody" in line for line in lines) == 1


def test_a_credential_of_another_kind_or_an_unknown_one_fails() -> None:
    keys = Keys(hook=("email", {"webhook": "x"}))
    wrong = execute(MessageRunner(), ExecutionContext(credentials=keys), type="slack", **CHAT)
    assert "wants category webhook" in wrong.error
    unknown = execute(MessageRunner(), ExecutionContext(credentials=keys), type="slack", credential_id="c", content="x")
    assert "unknown" in unknown.error


@pytest.mark.parametrize(
    "args", [{}, {"type": "pigeon", "credential_id": "c", "content": "x"}, MAIL | {"to": []}, MAIL | {"subject": ""},
             MAIL | {"to": [" "]}, MAIL | {"cc": [""]},
             {"type": "wechat_work", "credential_id": "c", "content": "x"}],
)  # fmt: skip
def test_a_wrong_message_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        MessageRunner().parse_args("", json.dumps(args))


# -- approval


class Desk:
    def __init__(self) -> None:
        self.asked: list[Approval] = []
        self.withdrawn: list[str] = []
        self.on_create: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[], None] = lambda: None

    def create_approval(self, task_id: str, approval: Approval) -> str:
        self.asked.append(approval)
        self.on_create()
        return "a1"

    def cancel_approval(self, approval_id: str) -> None:
        self.withdrawn.append(approval_id)
        self.on_cancel()


def test_an_approval_leaves_its_task_running() -> None:  # A1
    desk = Desk()
    result = execute(ApprovalRunner(), ExecutionContext(approvals=desk), title="Release?", user_ids=["u"], timeout=60)
    assert (result.status, json.loads(result.output)["approval_id"]) == (Status.RUNNING, "a1")
    assert (desk.asked[0].timeout, desk.asked[0].context) == (60, "{}")


def test_an_approval_tells_its_workflow_run() -> None:  # A3
    desk = Desk()
    context = ExecutionContext(approvals=desk, workflow_exec_id="269e926b-ffce-4ce9-aa68-71df36d15a7e")
    execute(ApprovalRunner(), context, title="Release?", user_ids=["u"])
    assert desk.asked[0].workflow_exec_id == "269e926b-ffce-4ce9-aa68-71df36d15a7e"


def test_a_stop_while_asking_withdraws_the_question() -> None:  # A2
    desk, runner = Desk(), ApprovalRunner()
    desk.on_create = runner.stop
    result = execute(runner, ExecutionContext(approvals=desk), title="Release?", user_ids=["u"])
    assert (result.status, desk.withdrawn) == (Status.STOPPED, ["a1"])


def test_an_answer_that_comes_after_the_stop_withdraws_the_question() -> None:  # A2
    desk, runner, released = Desk(), ApprovalRunner(), threading.Event()
    withdrawn = threading.Event()

    def late() -> None:
        runner.stop()
        released.wait(10)

    desk.on_create, desk.on_cancel = late, withdrawn.set
    result = execute(runner, ExecutionContext(approvals=desk), title="Release?", user_ids=["u"])
    assert (result.status, desk.withdrawn) == (Status.STOPPED, [])
    released.set()
    assert withdrawn.wait(5)
    assert desk.withdrawn == ["a1"]


@pytest.mark.parametrize(
    ("error", "status"), [(Unavailable("connection refused"), Status.FAILED), (KeyError("id"), Status.ERROR)]
)
def test_a_question_that_cannot_be_asked_tells_why(error: Exception, status: Status) -> None:  # G12
    desk, runner = Desk(), ApprovalRunner()

    def fail() -> None:
        raise error

    desk.on_create = fail
    result = execute(runner, ExecutionContext(approvals=desk), title="Release?", user_ids=["u"])
    assert (result.status, runner.status, str(error) in result.error) == (status, status, True)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"title": "x"},
        {"title": "x", "user_ids": ["u"], "context": {}},
        {"title": "x", "user_ids": ["u"], "metadata": "{"},
    ],
)
def test_a_wrong_approval_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask):
        ApprovalRunner().parse_args("", json.dumps(args))
