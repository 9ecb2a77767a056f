"""The WebSocket transport and the HTTP client keep the transport's contract, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from adapters.apiserver.coordination import HttpCoordination

from adapters.apiserver.http import ApiClient
from adapters.apiserver.stream import WebSocketTransport
from adapters.observability.metrics import MemoryMetrics
from adapters.testkit.transport_contract import Site, TransportContract, WorkerLink
from adapters.wire.endpoints import ApiAddress

pytest.importorskip("aiohttp", reason="aiohttp is missing; install the extra testkit to run the simulated server")

from adapters.testkit.apiserver import SimulatedServer


class TestWebSocketTransport(TransportContract):
    @pytest.fixture
    def site(self) -> Iterator[Site]:
        with SimulatedServer() as server, ExitStack() as ends:
            address = ApiAddress.parse(server.url)

            def make(token: str) -> WorkerLink:
                client = ApiClient(address, lambda: token, timeout=5)
                ends.callback(client.close)
                coordination = HttpCoordination(client)
                return WorkerLink(
                    WebSocketTransport(address, coordination, lambda: token, MemoryMetrics()), coordination
                )

            yield Site(server, make, ends)
