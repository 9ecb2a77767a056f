"""The in-memory transport keeps the transport's contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.testkit.memory_site import MemorySite
from adapters.testkit.transport_contract import Site, TransportContract


class TestMemoryTransport(TransportContract):
    raw = False  # nobody but the server itself writes to its end
    signs_of_life = False
    logins = False
    several_workers = False
    read_back = False

    @pytest.fixture
    def site(self) -> Iterator[Site]:
        site = MemorySite()
        yield site
        site.close()
