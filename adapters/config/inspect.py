"""``config check``: what a start would find out, found out before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapters.config.load import Loaded
from adapters.config.plugins import find_journal
from adapters.plugin import Checked
from adapters.process.cgroups import find_parent
from domain.errors import ConfigError


def inspect(loaded: Loaded, checked: Checked) -> list[str]:
    """What is wrong with settings that could be loaded: a text each, with its source and key."""
    told = [*_paths(loaded), *_parts(loaded), *loaded.transport.inspect(checked)]
    return [f"{loaded.source(key)}: {key}: {text}" for key, text in told]


def _paths(loaded: Loaded) -> Iterator[tuple[str, str]]:
    section = loaded.settings.runners
    for key, text in (("runners.ca_file", section.ca_file), ("runners.known_hosts", section.known_hosts)):
        if not text:
            continue
        try:
            content = loaded.path(text).read_bytes()
        except OSError as error:
            yield key, f"{loaded.path(text)} cannot be read: {error.strerror}"
            continue
        if key == "runners.ca_file" and b"-----BEGIN CERTIFICATE-----" not in content:
            yield key, f"{loaded.path(text)} holds no certificate in PEM form"
    directory = Path(loaded.settings.worker.working_dir).absolute()
    if directory.exists() and not directory.is_dir():
        yield "worker.working_dir", f"{directory} is no directory"


def _parts(loaded: Loaded) -> Iterator[tuple[str, str]]:
    try:
        find_parent(loaded.cgroup)
    except ConfigError as error:
        yield "execution.cgroup", str(error).removeprefix("execution.cgroup: ")
    try:
        find_journal(loaded.settings.journal)
    except ConfigError as error:
        yield "journal", str(error)
