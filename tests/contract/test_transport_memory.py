"""The memory transport keeps the transport's contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from adapters.apiserver.coordination import HttpCoordination

from adapters.observability.metrics import MemoryMetrics
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.model.client import MemoryApiClient
from adapters.testkit.model.network import MemoryServer
from adapters.testkit.model.stream import MemoryTransport
from adapters.testkit.transport_contract import Site, TransportContract, WorkerLink


class TestMemoryTransport(TransportContract):
    @pytest.fixture
    def site(self) -> Iterator[Site]:
        server = MemoryServer(ThreadRuntime())

        def make(token: str) -> WorkerLink:
            way = server.way()
            way.token = token
            return WorkerLink(MemoryTransport(way, MemoryMetrics()), HttpCoordination(MemoryApiClient(way.request)))

        server.start()
        with ExitStack() as ends:
            ends.callback(server.close)
            yield Site(server, make, ends)
