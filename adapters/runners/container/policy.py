"""What a container may get of the host (G77)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from adapters.runners.container.request import Request
from domain.errors import InvalidTask


@dataclass(frozen=True, slots=True)
class ContainerPolicy:
    """``bind_roots``: directories below which host paths may be mounted. ``allow_host`` lifts every limit.

    Privileged mode, capabilities, devices and the host's process or IPC namespaces have no field in a task at all.
    """

    bind_roots: tuple[str, ...] = ("/data", "/opt/data", "/srv", "/tmp")  # noqa: S108 - tasks share files there
    allow_host: bool = False

    def check(self, request: Request) -> None:
        """Raises InvalidTask where the task asks for the host."""
        if self.allow_host:
            return
        # What is no name is a way into somebody's network: container:ID, ns:/proc/1/ns/net.
        if request.network == "host" or (request.network and not _is_name(request.network)):
            raise InvalidTask(f"network {request.network} is refused: it is not the container's own")
        for volume in request.volumes:
            source = volume.split(":", 1)[0] if ":" in volume else ""
            if source and not _is_name(source):
                self._check_bind(source)

    def _check_bind(self, source: str) -> None:
        real = Path(os.path.realpath(source))
        roots = [Path(os.path.realpath(root)) for root in self.bind_roots]
        if not source.startswith("/") or real.is_socket() or not any(real.is_relative_to(root) for root in roots):
            raise InvalidTask(f"volume {source} is refused: it must lie below one of {', '.join(self.bind_roots)}")


def _is_name(source: str) -> bool:
    """Of a volume or a network: the engine's own, and no path."""
    return source[0].isalnum() and all(letter.isalnum() or letter in "_.-" for letter in source)
