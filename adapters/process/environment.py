"""What a task's processes find in their environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping

FROM_LOCALE = sys.getfilesystemencoding()
KEYS = ("API_KEY", "API_AUTH_TOKEN")
OWN = (*KEYS, "CRONJOB_WORKER_GUARDIAN_FD", "NOTIFY_SOCKET")
CREDENTIALS = "CRONJOB_CREDENTIAL_"  # what begins like this is a credential for the tasks that name it, not for all


def child_environment(
    inherited: Mapping[str, str], added: Mapping[str, str], secrets: Iterable[str] = ()
) -> dict[str, str]:
    """The worker's environment without its own secrets, and what the task adds (which wins).

    A variable goes when its name is one of the worker's own or when its value holds one of ``secrets`` (C11).
    """
    hidden = [secret for secret in secrets if secret]
    kept = {
        _recoded(name): _recoded(value)
        for name, value in inherited.items()
        if name not in OWN and not name.startswith(CREDENTIALS) and not any(secret in value for secret in hidden)
    }
    return kept | dict(added)


def take_secrets(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Remove from ``environment`` what tasks must not find, the API key and credentials, and return it."""
    return {name: environment.pop(name) for name in list(environment) if name in KEYS or name.startswith(CREDENTIALS)}


def _recoded(text: str) -> str:
    """Inherited text was decoded by the locale, and ``spawn`` makes UTF-8 of it: so that the bytes are the same."""
    return text if FROM_LOCALE == "utf-8" else os.fsencode(text).decode("utf-8", "surrogateescape")
