"""The request that a task asks for."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.http.request import HttpArgs, Request, ascii_host, basic, fill, make_request, redirected, safe_url
from domain.errors import InvalidTask
from domain.runner import ExecutionContext
from tests.support.runner_fakes import Keys
from tests.support.templates import NAMES, TEMPLATES, filled

BODIES = st.recursive(
    TEMPLATES | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEMPLATES, inner, max_size=3),
    max_leaves=6,
)


@given(BODIES, st.dictionaries(NAMES, TEMPLATES))
def test_strings_of_a_body_are_filled_and_its_keys_stay(body: Any, environment: dict[str, str]) -> None:  # H8
    def walked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walked(item) for item in value]
        return filled(value, environment) if isinstance(value, str) else value

    assert fill(body, environment) == walked(body)


def made(context: ExecutionContext | None = None, /, **args: Any) -> Request:
    return make_request(HttpArgs(**{"url": "http://h.example/x"} | args), context or ExecutionContext())


def test_a_query_is_added_sorted_and_values_of_one_name_keep_their_order() -> None:
    found = made(url="http://h/x?z=1&a=2&z=0", query={"b": "ü &", "z": "9"})
    assert found.url == "http://h/x?a=2&b=%C3%BC+%26&z=1&z=0&z=9"


@pytest.mark.parametrize(
    ("method", "sent"), [("post", True), (" PUT ", True), ("PATCH", True), ("", False), ("DELETE", False)]
)
def test_a_body_goes_with_methods_that_have_one(method: str, sent: bool) -> None:
    found = made(method=method, body={"a": "ü"})
    assert (found.body == '{"a": "ü"}'.encode()) is sent
    assert found.headers["Content-Type"] == "application/json"
    own = made(method="POST", body=1, headers={"content-TYPE": "x"}).headers
    assert [value for name, value in own.items() if name.lower() == "content-type"] == ["x"]


@pytest.mark.parametrize("header", [{"A": "b\r\nC: d"}, {"A\n": "b"}, {"A": "\0"}])
def test_a_header_brings_no_other_one(header: dict[str, str]) -> None:
    with pytest.raises(InvalidTask, match="line break"):
        made(headers=header)


def test_a_credential_goes_before_the_tasks_own_header_and_is_concealed() -> None:
    redacted: list[str] = []
    context = ExecutionContext(credentials=Keys("api_token", token="t0ken"), redact=redacted.append)
    found = made(context, credential_id="c", headers={"authorization": "mine", "Cookie": "c00kie"})
    assert {name: found.headers[name] for name in ("Authorization", "Cookie")} == {
        "Authorization": "Bearer t0ken", "Cookie": "c00kie",
    }  # fmt: skip
    assert {"t0ken", "Bearer t0ken", "c00kie"} <= set(redacted)
    assert "authorization" not in found.headers


def test_user_and_password_come_from_a_credential_or_the_url() -> None:
    context = ExecutionContext(credentials=Keys("username_password", username="ü", password="p:w"))
    assert made(context, credential_id="c").headers["Authorization"] == basic("ü", "p:w")
    assert made(url="http://a%40b:p%3Aw@h/").headers["Authorization"] == basic("a@b", "p:w")
    assert base64.b64decode(basic("ü", "p:w")[6:]).decode() == "ü:p:w"


def test_a_credential_of_another_kind_and_none_at_all_are_told() -> None:
    for context in (ExecutionContext(), ExecutionContext(credentials=Keys("email", token="t"))):
        with pytest.raises(InvalidTask, match="credential_id"):
            made(context, credential_id="c")


@pytest.mark.parametrize(
    ("status", "method", "after", "body"),
    [
        (302, "POST", "GET", None),
        (303, "PUT", "GET", None),
        (307, "POST", "POST", b"x"),
        (308, "PUT", "PUT", b"x"),
        (301, "HEAD", "HEAD", b"x"),
    ],
)
def test_a_redirect_repeats_a_request_or_makes_it_a_get(
    status: int, method: str, after: str, body: bytes | None
) -> None:
    headers = {"Content-Type": "x", "A": "b"}
    found = redirected(Request(method, "http://h/a/b", headers, b"x"), status, "../c?d")
    assert (found.method, found.url, found.body) == (after, "http://h/c?d", body)
    assert ("Content-Type" in found.headers) is (body is not None)


@pytest.mark.parametrize(
    ("target", "kept"), [("/other", True), ("http://h:80/", False), ("https://h/", False), ("//evil/", False)]
)
def test_credentials_stay_with_their_own_host(target: str, kept: bool) -> None:
    headers = {"Authorization": "s", "COOKIE": "s", "Host": "h", "A": "b"}
    found = redirected(Request("GET", "http://h/", headers, None), 302, target)
    assert set(found.headers) == (set(headers) if kept else {"A"})


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://h:0/", "http://[::1"])
def test_a_redirect_to_what_cannot_be_asked_is_not_followed(target: str) -> None:
    with pytest.raises(ValueError, match=r"redirect|Invalid"):
        redirected(Request("GET", "http://h/", {}, None), 302, target)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@h.example:8443/a?token=s&x=", "https://h.example:8443/a?token=***&x=***"),
        ("http://[::1]:80/a#frag", "http://[::1]:80/a"), ("http://h", "http://h"),
    ],
)  # fmt: skip
def test_a_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert safe_url(url) == shown


def test_a_name_beyond_ascii_is_asked_for_as_dns_knows_it() -> None:
    assert (ascii_host("bücher.example"), ascii_host("h.example")) == ("xn--bcher-kva.example", "h.example")
    with pytest.raises(InvalidTask, match="is not a host name"):
        ascii_host("ü" * 80)
