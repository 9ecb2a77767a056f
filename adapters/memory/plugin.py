"""The in-memory transport by the same door as any other; a worker alone on it gets no task."""

from __future__ import annotations

from adapters.memory.server import MemoryServer
from adapters.plugin import Surroundings, TransportPlugin
from application.ports import Server


def open_server(around: Surroundings) -> Server:
    return MemoryServer(around.runtime).server()


plugin = TransportPlugin(name="memory", open=open_server, schemes=("memory",), where=lambda _: "in this process")
