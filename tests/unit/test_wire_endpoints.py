"""Addresses and header rules of the link (G69)."""

from __future__ import annotations

import pytest

from adapters.wire.endpoints import ApiAddress, ProxyAddress, path_part
from domain.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://api.example.test", "https://api.example.test:443/api/v1"),
        ("https://api.example.test/api/v1/", "https://api.example.test:443/api/v1"),
        ("https://api.example.test:8443/cron", "https://api.example.test:8443/cron/api/v1"),
        ("http://127.0.0.1:8000/api/v1", "http://127.0.0.1:8000/api/v1"),
        ("http://localhost", "http://localhost:80/api/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/api/v1"),
    ],
)
def test_an_address_is_read_with_or_without_the_api_path(text: str, base: str) -> None:
    assert ApiAddress.parse(text).base == base


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.example.test",
        "ftp://api.example.test",
        "https://",
        "https://host:99999",
        "https://user:secret@host",
        "https://host/?a=1",
        "https://host/\r\nX: y",
        "http://[",
    ],
)
def test_an_unusable_address_is_refused_without_showing_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ApiAddress.parse(text)
    assert "secret" not in str(caught.value)


def test_plain_http_to_another_machine_needs_permission() -> None:
    with pytest.raises(ConfigError, match="https"):
        ApiAddress.parse("http://10.0.0.7:8000")
    assert ApiAddress.parse("http://10.0.0.7:8000", allow_plain=True).port == 8000


def test_lock_keys_and_values_are_encoded_in_the_websocket_address() -> None:
    url = ApiAddress.parse("https://h").websocket("/ws/a b", "x&y")
    assert url == "wss://h:443/api/v1/ws/task/?key=%2Fws%2Fa+b&value=x%26y"


def test_a_proxy_address_keeps_its_password_out_of_its_text() -> None:
    proxy = ProxyAddress.parse("http://u:s%2Fecret@proxy")
    assert (proxy.authority, proxy.credentials) == ("proxy:3128", "u:s/ecret")
    assert "ecret" not in repr(proxy)


def test_a_path_part_cannot_leave_its_place() -> None:
    assert path_part("../a?b") == "..%2Fa%3Fb"
