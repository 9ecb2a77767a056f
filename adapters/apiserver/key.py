"""The API key as it is at the moment (G56)."""

from __future__ import annotations

import os
from collections.abc import Callable

from adapters.apiserver.settings import ServerSection
from adapters.plugin import LoadedSettings
from domain.errors import ConfigError


def key_provider(settings: LoadedSettings, mask: Callable[[str], None]) -> Callable[[], str]:
    """The API key, read anew from its file each time the file changes, so that it can be rotated.

    ``mask`` is told each key before anybody else knows it. While the file is missing or empty, as in the middle of a
    rotation, the last key counts. Any thread. Raises ConfigError if there never was one.
    """
    server = settings.section(ServerSection)
    if not server.auth_token_file:
        mask(server.auth_token)
        return lambda: server.auth_token
    path = settings.path(server.auth_token_file)
    known: tuple[object, str] = (None, "")

    def read() -> str:
        nonlocal known
        last, token = known
        try:
            state = os.stat(path)
            stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
            if stamp != last:
                token = path.read_text().strip() or token
                mask(token)
                known = (stamp, token)
        except (OSError, UnicodeDecodeError):
            pass
        if not token:
            raise ConfigError(f"server.auth_token_file: {path} holds no API key that can be read")
        return token

    return read
