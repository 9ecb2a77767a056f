"""The settings that tell how to reach the API server: the sections ``server`` and ``websocket``."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from adapters.apiserver.tls import tls_context
from adapters.plugin import LoadedSettings, Seconds, Section, Text
from adapters.wire.endpoints import ApiAddress, ProxyAddress, header_token
from domain.errors import ConfigError, Refused

VARIABLES = {
    "API_URL": "server.api_url",
    "API_SERVER_URL": "server.api_url",
    "API_KEY": "server.auth_token",
    "API_AUTH_TOKEN": "server.auth_token",
    "API_AUTH_TOKEN_FILE": "server.auth_token_file",
    "API_ALLOW_PLAIN_HTTP": "server.allow_plain_http",
    "WEBSOCKET_PING_INTERVAL": "websocket.ping_interval",
}
SECRETS = ("server.auth_token", "server.proxy")
FILES = ("server.auth_token_file", "server.tls.ca_file", "server.tls.cert_file", "server.tls.key_file")


def _http(address: str) -> str:
    """The link is an upgraded HTTP connection: ws:// and http:// name the same server."""
    scheme, mark, rest = address.rstrip("/").partition("://")
    return {"ws": "http", "wss": "https"}.get(scheme.lower(), scheme) + mark + rest


class TlsSection(Section):
    ca_file: Text = Field("", description="certificate authorities to trust instead of the system's")
    cert_file: Text = Field("", description="client certificate")
    key_file: Text = Field("", description="key of the client certificate, if it is not in the same file")


class ServerSection(Section):
    api_url: Annotated[Text, AfterValidator(_http)] = Field(
        "", description="address of the API server, with or without /api/v1; empty: no server"
    )
    auth_token: Text = Field("", description="API key")
    auth_token_file: Text = Field("", description="file that holds the API key; read anew when it changes")
    allow_plain_http: bool = Field(False, description="send the key over http:// to another host than this one")
    proxy: Text = Field("", description="http://[user:password@]host:port of an HTTP proxy")
    tls: TlsSection = TlsSection()


class WebSocketSection(Section):
    ping_interval: Seconds = Field(20.0, le=55, description="seconds between heartbeats; the server wants one a minute")
    pong_timeout: Seconds = Field(60.0, description="seconds of silence after a missed heartbeat until reconnecting")
    connect_timeout: Seconds = Field(20.0, le=60, description="seconds that connecting may take")
    reconnect_cap: Seconds = Field(30.0, description="longest pause between two tries to connect, in seconds")


def address_of(settings: LoadedSettings) -> str:
    """``transport`` where it is an address, else ``server.api_url``."""
    return _http(settings.address) or settings.section(ServerSection).api_url


def check(settings: LoadedSettings) -> Iterator[tuple[str, str]]:
    """What the link would refuse later. Addresses are not repeated: they may hold a password."""
    server = settings.section(ServerSection)
    address, key = address_of(settings), "transport" if settings.address else "server.api_url"
    if not address:
        yield "transport", "the API server needs its address: server.api_url (API_SERVER_URL)"
    if address:
        try:
            ApiAddress.parse(address, server.allow_plain_http)
        except ConfigError as error:
            yield key, f"{error}{' (server.allow_plain_http)' if address.startswith('http:') else ''}"
        if not (server.auth_token or server.auth_token_file):
            yield "server.auth_token", "is missing: set API_AUTH_TOKEN, or server.auth_token_file"
    yield from (("server.auth_token", why) for why in _unfit(server.auth_token))
    if server.proxy:
        try:
            ProxyAddress.parse(server.proxy)
        except ConfigError as error:
            yield "server.proxy", str(error)
    yield from _check_files(settings, server)


def _check_files(settings: LoadedSettings, server: ServerSection) -> Iterator[tuple[str, str]]:
    broken = False
    for key in FILES:
        text = getattr(server.tls if "tls" in key else server, key.rpartition(".")[2])
        try:
            content = settings.path(text).read_bytes().strip() if text else b"x"
        except (OSError, ValueError) as error:
            broken = True
            yield key, f"{settings.path(text)} cannot be read: {getattr(error, 'strerror', None) or error}"
            continue
        if not content:
            broken = True
            yield key, f"{settings.path(text)} is empty"
        elif key == "server.auth_token_file":
            yield from ((key, f"{settings.path(text)}: {why}") for why in _unfit(content.decode("utf-8", "replace")))
    if server.tls.key_file and not server.tls.cert_file:
        yield "server.tls.key_file", "is a key without its certificate: set server.tls.cert_file"
    if not broken:
        try:
            tls_of(settings)
        except ConfigError as error:
            key, _, text = str(error).partition(": ")
            yield key, text


def _unfit(token: str) -> Iterator[str]:
    try:
        header_token(token)
    except Refused as error:
        yield str(error)


def tls_of(settings: LoadedSettings) -> ssl.SSLContext:
    """The context of both sides of the link. Raises ConfigError, which begins with the key that is wrong."""
    named = settings.section(ServerSection).tls
    ca, certificate, key = (
        str(settings.path(text)) if text else "" for text in (named.ca_file, named.cert_file, named.key_file)
    )
    return tls_context(ca, certificate, key)
