"""What can be wrong with settings, each told with its source, its key, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from adapters.config.settings import SECRETS, Server, Settings, keys
from adapters.config.sources import ENVIRONMENT, IGNORED, Value, Values
from adapters.wire.endpoints import ApiAddress, ProxyAddress
from adapters.wire.framing import SEPARATOR
from domain.errors import ConfigError


def unknown_keys(values: Values) -> list[str]:
    known = keys()
    sections = {key.rpartition(".")[0] for key in known if "." in key}
    found = []
    for key, value in values.items():
        if key in known:
            continue
        if any(real.startswith(f"{key}.") for real in known):
            if value.raw == {}:
                continue
            found.append(f"{value.source}: {key}: expected an object with keys, got {type(value.raw).__name__}")
            continue
        near = difflib.get_close_matches(key, [*known, *sections], 1, 0.5) or [
            real for real in known if real.split(".")[-1] == key.split(".")[-1]
        ]
        hint = f"; did you mean {near[0]}?" if near else "; `config show` lists all keys"
        found.append(f"{value.source}: {key}: unknown key{hint}")
    return found


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A WORKER_ variable that is one slip away from a known one is a slip."""
    known = [*ENVIRONMENT, *IGNORED, "WORKER_CONFIG"]
    found = []
    for name, text in environment.items():
        if text.strip() and name.startswith(("WORKER_", "API_", "WEBSOCKET_")) and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.87)
            if near:
                found.append(f"environment {name}: unknown variable; did you mean {near[0]}?")
    return found


def explain(error: ValidationError, values: Values) -> list[str]:
    found = []
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"]]
        key = ".".join(parts)
        while key and key not in values and "." in key:
            key = key.rpartition(".")[0]
        source = values[key].source if key in values else "settings"
        given = "***" if key in SECRETS else repr(problem.get("input"))[:60]
        found.append(f"{source}: {'.'.join(parts)}: {problem['msg'].lower()} (got {given})")
    return found


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def conflicts(settings: Settings, values: Values) -> list[str]:
    found = []

    def tell(key: str, text: str) -> None:
        found.append(f"{values.get(key, Value(None, 'settings')).source}: {key}: {text}")

    if settings.worker.id and not _UUID.fullmatch(settings.worker.id):
        tell(
            "worker.id", f"must be a uuid such as 6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12, got {settings.worker.id[:40]!r}"
        )
    if settings.chosen_transport == "websocket":
        if not settings.server.api_url:
            tell("transport", "websocket needs server.api_url (API_SERVER_URL)")
        else:
            found += bad_addresses(settings.server, values)
        if settings.server.api_url and not (settings.server.auth_token or settings.server.auth_token_file):
            tell("server.auth_token", "is missing: set API_AUTH_TOKEN, or server.auth_token_file")
    if settings.server.auth_token and settings.server.auth_token_file:
        tell("server.auth_token_file", "server.auth_token is set too; leave one of them out")
    if settings.websocket.message_separator.encode() != SEPARATOR:
        tell("websocket.message_separator", r'the server knows only "\x00223399AABB2233CC"; leave the key out')
    if not settings.worker.tasks:
        tell("worker.tasks", "must name at least one category")
    return found


def bad_addresses(server: Server, values: Values) -> list[str]:
    """What the link would refuse later, told with the key and without the text: an address may hold a password."""
    found = []
    checks: list[tuple[str, str, Callable[[str], object]]] = [
        ("server.api_url", server.api_url, lambda text: ApiAddress.parse(text, server.allow_plain_http)),
        ("server.proxy", server.proxy, ProxyAddress.parse),
    ]
    for key, text, parse in checks:
        try:
            if text:
                parse(text)
        except ConfigError as error:
            hint = " (server.allow_plain_http)" if key == "server.api_url" and text.startswith("http:") else ""
            found.append(f"{values[key].source}: {key}: {error}{hint}")
    return found


def unreadable_files(settings: Settings, sources: Mapping[str, str], base: Path) -> list[str]:
    """Files that the settings name for joining a server, and that cannot be read now."""
    if settings.chosen_transport != "websocket":
        return []
    server = settings.server
    named = {
        "server.auth_token_file": server.auth_token_file,
        "server.tls.ca_file": server.tls.ca_file,
        "server.tls.cert_file": server.tls.cert_file,
        "server.tls.key_file": server.tls.key_file,
    }
    found = []
    for key, text in named.items():
        try:
            if text and not (base / text).read_bytes().strip():
                found.append(f"{sources[key]}: {key}: {(base / text)} is empty")
        except OSError as error:
            found.append(f"{sources[key]}: {key}: {(base / text)} cannot be read: {error.strerror}")
    return found
