"""The API server as a transport: the event stream over a WebSocket, everything else over HTTP."""

from __future__ import annotations

from adapters.apiserver.http import ApiClient
from adapters.apiserver.key import key_provider
from adapters.apiserver.locks import HttpGate
from adapters.apiserver.server import server_over
from adapters.apiserver.settings import (
    SECRETS,
    VARIABLES,
    ServerSection,
    WebSocketSection,
    address_of,
    check,
    tls_of,
)
from adapters.apiserver.stream import LinkOptions, WebSocketTransport
from adapters.plugin import Surroundings, TransportPlugin
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from adapters.wire.framing import SEPARATOR
from application.ports import LinkTimes, Server


def open_server(around: Surroundings) -> Server:
    """Both sides of one API server. Raises ConfigError."""
    settings = around.settings
    server, websocket = settings.section(ServerSection), settings.section(WebSocketSection)
    address = ApiAddress.parse(address_of(settings), server.allow_plain_http)
    tls = tls_of(settings) if address.secure else None
    proxy = ProxyAddress.parse(server.proxy) if server.proxy else None
    key = key_provider(settings, around.mask)
    client = ApiClient(address, key, tls=tls, proxy=proxy)
    around.stack.callback(client.close)
    options = LinkOptions(connect_timeout=websocket.connect_timeout, tls=tls, proxy=proxy)
    times = LinkTimes(websocket.ping_interval, websocket.pong_timeout, websocket.reconnect_cap)
    stream = WebSocketTransport(address, HttpGate(client), key, around.metrics, options)
    return server_over(client, stream, around.runtime.now, times, lambda: (key(),))


plugin = TransportPlugin(
    name="apiserver",
    open=open_server,
    sections={"server": ServerSection, "websocket": WebSocketSection},
    schemes=("http", "https", "ws", "wss"),
    check=check,
    where=address_of,
    is_configured=lambda settings: bool(settings.section(ServerSection).api_url),
    secrets=SECRETS,
    variables=VARIABLES,
    alternatives=(("server.auth_token", "server.auth_token_file"),),
    obsolete={"websocket.message_separator": SEPARATOR.decode()},
)
