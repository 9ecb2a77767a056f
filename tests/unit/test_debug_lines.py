"""What the link and the HTTP side tell at DEBUG where no server of ours shows it: TLS, a second try, a new key."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest
import trustme

from adapters.apiserver.http import ApiClient
from adapters.apiserver.tls import tls_context
from adapters.net.dial import dial
from adapters.net.duplex import boottime
from adapters.testkit.scripted import PeerConnection, ScriptedPeer
from adapters.wire.endpoints import ApiAddress

SECRET = "hunter2-secret"


def test_tls_is_told_with_its_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with caplog.at_level(logging.DEBUG, "worker"), ScriptedPeer(lambda peer: None, context) as peer:
        address = ApiAddress.parse(f"https://127.0.0.1:{peer.port}")
        dial(address, boottime() + 5, tls_context(str(tmp_path / "ca.pem"))).close()
    assert caplog.messages[0] == f"dialling 127.0.0.1 port {peer.port} at 127.0.0.1"
    assert caplog.messages[1].startswith("TLS with 127.0.0.1: TLSv1.")


def test_a_second_try_and_a_new_key_are_told_without_key_query_or_body(caplog: pytest.LogCaptureFixture) -> None:
    keys = [SECRET, f"{SECRET}-2"]
    heads: list[str] = []

    def script(peer: PeerConnection) -> None:
        heads.append(peer.read_head())
        if len(heads) == 1:
            return  # the connection breaks
        body = b'{"code": 0, "data": "%s"}' % SECRET.encode()
        peer.answer(401 if len(heads) == 2 else 200, body, "Connection: close")  # it hangs up, and says so

    with caplog.at_level(logging.DEBUG, "worker"), ScriptedPeer(script) as peer:
        client = ApiClient(ApiAddress.parse(f"http://127.0.0.1:{peer.port}"), lambda: keys[min(1, len(heads) // 2)])
        assert client.get("/thing", {"value": SECRET}) == SECRET
        client.close()
    told = [text.split(" in ")[0] for text in caplog.messages]
    assert told == [
        "GET /thing: the connection broke; sent once more",
        "GET /thing: answered 401",
        "GET /thing: asked again with the new API key",
        "GET /thing: answered 200",
    ]
    assert len(heads) == 3
    assert SECRET not in caplog.text
