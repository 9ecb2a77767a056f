"""What every transport promises, whatever carries it: subclass ``TransportContract`` in a test module of yours.

    class TestMyTransport(TransportContract):
        logs = False  # what the medium does not have

        @pytest.fixture
        def site(self) -> Iterator[Site]:
            site = MySite()  # a subclass of Site: how people plan and stop tasks there, and what the server holds
            yield site
            site.close()

Each failure is a sentence that names the broken promise and shows what came. Each call has ``limit`` seconds. What the
port allows to be repeated (an offer, a stop) may come twice. ``adapters/memory/server.py`` is the smallest transport
that keeps all of it.
"""

from __future__ import annotations

from adapters.testkit.promises import eventually
from adapters.testkit.transport.claim_cases import ClaimCases
from adapters.testkit.transport.connection_cases import ConnectionCases
from adapters.testkit.transport.log_cases import LogCases
from adapters.testkit.transport.outcome_cases import OutcomeCases
from adapters.testkit.transport.read_back_cases import ReadBackCases
from adapters.testkit.transport.server_cases import ServerCases
from adapters.testkit.transport.site import Held, Site
from adapters.testkit.transport.stream_cases import StreamCases
from adapters.testkit.transport.worker_link import WorkerLink, someone

__all__ = ["Held", "Site", "TransportContract", "WorkerLink", "eventually", "someone"]


class TransportContract(StreamCases, ConnectionCases, ClaimCases, OutcomeCases, ReadBackCases, LogCases, ServerCases):
    """All of it. Give the fixture ``site``; the flags are those of ``TransportCases``."""
