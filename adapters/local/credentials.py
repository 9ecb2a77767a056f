"""Credentials without a server: from a private file, or from the environment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from domain.errors import NotFound, Refused
from domain.runner import Credential

PREFIX = "CRONJOB_CREDENTIAL_"


class LocalCredentials:
    """``credentials.json`` (0600) in the state directory: {"id": {"category": ..., "value": {...}}}; or a variable
    ``CRONJOB_CREDENTIAL_<ID>`` with the same object. Read anew each time; kept nowhere."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path = path
        self._environment = environment

    def credential(self, credential_id: str) -> Credential:
        found = self._from_environment(credential_id) or self._from_file(credential_id)
        if not isinstance(found, dict) or not isinstance(found.get("value"), dict):
            raise NotFound(
                f"credential {credential_id!r} is neither in {self._path} nor in {self._name(credential_id)}"
            )
        if found.get("is_active", True) is not True:
            raise Refused(f"the credential {credential_id} is not active")
        return Credential(
            credential_id, str(found.get("category", "")), str(found.get("name", credential_id)), found["value"]
        )

    def _name(self, credential_id: str) -> str:
        return PREFIX + re.sub(r"[^A-Z0-9]", "_", credential_id.upper())

    def _from_environment(self, credential_id: str) -> object:
        text = self._environment.get(self._name(credential_id), "")
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            raise Refused(f"{self._name(credential_id)} is not a JSON object") from None

    def _from_file(self, credential_id: str) -> object:
        try:
            if os.stat(self._path).st_mode & 0o077:
                raise Refused(f"{self._path} can be read by others: chmod 600 it")
            document = json.loads(self._path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise Refused(f"{self._path} is not readable as JSON") from None
        return document.get(credential_id) if isinstance(document, dict) else None
