"""What a container task asks for, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adapters.runners.arguments import decode, need
from domain.errors import InvalidTask

NEEDS = {
    "build": ("context", "tags"), "run": ("image",), "push": ("image",), "pull": ("image",), "stop": ("container",),
    "start": ("container",), "restart": ("container",), "remove": (), "logs": ("container",),
    "exec": ("container", "exec_command"), "inspect": ("container",), "prune": ("type",), "stats": ("container",),
}  # fmt: skip
PRUNABLE = ("image", "container", "volume", "network")
POLICIES = ("", "no", "always", "unless-stopped", "on-failure")


class ContainerFailed(Exception):
    """Never leaves this package; see ``runner``."""


class ClientDied(ContainerFailed):
    """The program that waited for the container was killed; the container need not be."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine is; ``tls_cred`` names a credential, so nothing here is a secret."""

    runtime: str = "docker"
    socket: str = ""
    host: str = ""
    tls: bool = False
    tls_cred: str = ""
    namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Request:
    action: str = ""
    runtime: str = "docker"
    connection: str = "unix"
    socket: str = ""
    host: str = ""
    tls: bool = False
    tls_cred: str = ""
    namespace: str = "default"
    context: str = ""
    tags: list[str] = field(default_factory=list)
    dockerfile: str = ""
    build_args: dict[str, str] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False
    image: str = ""
    name: str = ""
    ports: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    env: Any = None
    network: str = ""
    restart: str = ""
    remove: bool = False
    detach: bool = True
    command: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    registry: str = ""
    registry_cred: str = ""
    tag_latest: bool = False
    container: str = ""
    timeout: int = 0
    force: bool = False
    remove_volumes: bool = False
    tail: int = 0
    lines: int = 0
    follow: bool = False
    timestamps: bool = False
    exec_command: list[str] = field(default_factory=list)
    tty: bool = False
    check_health: bool = False
    type: str = ""
    filters: dict[str, str] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return Engine(self.runtime, self.socket, self.host, self.tls, self.tls_cred, self.namespace)

    @property
    def final_image(self) -> str:
        """The image's name with the registry in front, unless it is there already."""
        registry = self.registry.removeprefix("https://").removeprefix("http://").strip("/")
        if not registry or self.image.startswith(f"{registry}/"):
            return self.image
        return f"{registry}/{self.image}"

    @property
    def variables(self) -> dict[str, str]:
        """``env`` of an object, or of a list of ``NAME=value``."""
        if isinstance(self.env, list):
            return dict(item.split("=", 1) for item in self.env)
        return dict(self.env or {})


def checked(args: str) -> Request:
    """Raises InvalidTask naming the key and the remedy."""
    found = decode(args, Request)
    if found.action not in NEEDS:
        raise InvalidTask(f"action {found.action!r} is unknown; known: {', '.join(NEEDS)}")
    for key in NEEDS[found.action]:
        value = getattr(found, key)
        if isinstance(value, str):
            need(value, key)
        elif not value:
            raise InvalidTask(f"{key} is missing")
    if found.action == "remove" and not (found.container or found.image):
        raise InvalidTask("remove needs container or image")
    if found.runtime not in ("docker", "podman", "containerd"):
        raise InvalidTask(f"runtime {found.runtime!r} is unknown; known: docker, podman, containerd")
    if found.runtime == "containerd" and (found.connection == "tcp" or found.host):
        raise InvalidTask("containerd is reached by its local socket only, not by tcp")
    if found.connection == "tcp" and not found.host:
        raise InvalidTask("connection tcp needs host")
    # The SDK would also go by ssh, with the worker's own keys and to hosts that nobody knows.
    if "://" in found.host and not found.host.startswith("tcp://"):
        raise InvalidTask(f"host must be HOST:PORT or tcp://HOST:PORT, not {found.host!r}")
    if found.action == "prune" and found.type not in (*PRUNABLE, "all"):
        raise InvalidTask(f"type {found.type!r} is unknown; known: {', '.join(PRUNABLE)}, all")
    if found.action == "prune" and found.filters and found.runtime == "containerd":
        raise InvalidTask("filters: nerdctl would prune without them; leave them out or use another runtime")
    for word in (found.context, found.image, found.container, found.name, found.namespace, found.network, *found.tags):
        if word.startswith("-"):
            raise InvalidTask(f"{word!r} is no name: names do not begin with a dash")
    _variables(found)
    if found.runtime == "containerd" and any("\n" in text for pair in found.variables.items() for text in pair):
        raise InvalidTask("env: nerdctl reads variables line by line, so no value may hold a line break")
    restart(found.restart)
    for text in found.ports:
        port(text)
    return found


def restart(text: str) -> dict[str, Any]:
    """``on-failure:3`` as the API wants it (K7)."""
    name, _, count = text.partition(":")
    if name not in POLICIES or (count and (name != "on-failure" or not count.isdigit())):
        raise InvalidTask(f"restart {text!r} is none of no, always, unless-stopped, on-failure, on-failure:N")
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def port(text: str) -> tuple[str, tuple[str, str]]:
    """``[ip:]host:container[/proto]`` as (container/proto, (ip, host)) (K7)."""
    mapping, _, protocol = text.partition("/")
    outer, _, inner = mapping.rpartition(":")
    address, _, host = outer.rpartition(":")
    if not inner.isdigit() or not (host or "0").isdigit() or (protocol or "tcp") not in ("tcp", "udp", "sctp"):
        raise InvalidTask(f"port {text!r} is not [IP:]HOST:CONTAINER[/tcp|udp|sctp]")
    return f"{inner}/{protocol or 'tcp'}", (address.strip("[]"), host)


def _variables(found: Request) -> None:
    items = found.env
    if items is None:
        return
    if isinstance(items, list) and all(isinstance(item, str) and "=" in item for item in items):
        return
    if isinstance(items, dict) and all(isinstance(value, str) for value in items.values()):
        return
    raise InvalidTask('env must be an object of strings or a list of "NAME=value"')
