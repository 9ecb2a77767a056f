"""The API server over its model in memory keeps the transport's contract, and has the API server's manners."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.apiserver_manners import ApiServerFlags, ApiServerManners
from adapters.testkit.apiserver_site import ApiServerSite
from adapters.testkit.model.network import MemoryServer
from adapters.testkit.model.stream import server_of
from adapters.testkit.transport_contract import TransportContract
from application.ports import Metrics, Server


class OverTheModel:
    @pytest.fixture
    def site(self) -> Iterator[ApiServerSite]:
        server = MemoryServer(ThreadRuntime())

        def make(key: str, metrics: Metrics) -> Server:
            network = server.network()
            network.token = key
            return server_of(network, metrics)

        server.start()
        yield ApiServerSite(server, make)
        server.close()


class TestModelledTransport(OverTheModel, ApiServerFlags, TransportContract): ...


class TestModelledManners(OverTheModel, ApiServerManners): ...
