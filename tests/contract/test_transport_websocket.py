"""The API server over sockets keeps the transport's contract, and has the API server's manners."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from adapters.apiserver.http import ApiClient
from adapters.apiserver.locks import HttpGate
from adapters.apiserver.server import server_over
from adapters.apiserver.stream import WebSocketTransport
from adapters.net.duplex import boottime
from adapters.testkit.apiserver_manners import ApiServerFlags, ApiServerManners
from adapters.testkit.apiserver_site import ApiServerSite
from adapters.testkit.promises import LIMIT, broken
from adapters.testkit.transport_contract import TransportContract, WorkerLink
from adapters.wire.endpoints import ApiAddress
from application.ports import Metrics, Server
from domain.errors import Unavailable

pytest.importorskip("aiohttp", reason="aiohttp is missing; install the extra testkit to run the simulated server")

from adapters.testkit.apiserver import SimulatedServer


class OverSockets:
    @pytest.fixture
    def site(self) -> Iterator[ApiServerSite]:
        with SimulatedServer() as server, ExitStack() as ends:
            address = ApiAddress.parse(server.url)

            def make(key: str, metrics: Metrics) -> Server:
                client = ApiClient(address, lambda: key, timeout=5)
                ends.callback(client.close)
                stream = WebSocketTransport(address, HttpGate(client), lambda: key, metrics)
                ends.callback(stream.close)
                return server_over(client, stream, boottime)

            yield ApiServerSite(server, make)


class TestWebSocketTransport(OverSockets, ApiServerFlags, TransportContract): ...


class TestWebSocketManners(OverSockets, ApiServerManners):
    def test_abandon_ends_a_call_that_gets_no_answer(self, site: ApiServerSite, link: WorkerLink) -> None:
        offer = link.offer(site.add())
        server, ended = site.controls, threading.Event()
        assert isinstance(server, SimulatedServer)
        server.pause(black_hole=True)

        def claim() -> None:
            with pytest.raises(Unavailable):
                link.opened.claims.claim(offer, "t", 30.0, 4 * LIMIT)
            ended.set()

        asking = threading.Thread(target=claim)
        asking.start()
        while not server.requests_in_line:
            threading.Event().wait(0.01)
        link.server.abandon()
        in_time = ended.wait(LIMIT)
        server.resume()
        asking.join(LIMIT)
        if not in_time:
            broken("Server.abandon ends calls under way at once", f"after {LIMIT:g} s one was still waiting")
