"""Requests to chat services, and what their answers say."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import urllib3

from adapters.net.connections import Connections
from adapters.runners.message.task import NotSent
from domain.errors import InvalidTask

ANSWER_CAP = 65_536


class Web:
    """``limit``: seconds for one request; ``ca_file`` adds authorities."""

    def __init__(self, connections: Connections, ca_file: str, limit: float) -> None:
        self._connections = connections
        self._ca_file = ca_file
        self._limit = limit

    def ask(self, method: str, url: str, body: Any) -> dict[str, Any]:
        """One request; no error of it holds the URL, which is the secret (M4)."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidTask("the credential's webhook is not an address that begins with http:// or https://")
        secure = parts.scheme == "https"
        limit = urllib3.Timeout(total=self._limit)
        tls = ssl.create_default_context() if secure else None
        if tls is not None and self._ca_file:
            tls.load_verify_locations(self._ca_file)
        pool = self._connections.pool(secure, parts.hostname, parts.port, limit, tls)
        answer = None
        try:
            answer = pool.urlopen(
                method, urlunsplit(("", "", parts.path or "/", parts.query, "")), body=data, retries=False,
                headers={"Content-Type": "application/json"}, redirect=False, preload_content=False,
            )  # fmt: skip
            text = answer.read(ANSWER_CAP)
        finally:
            if answer is not None:
                answer.close()
            pool.close()
            self._connections.close()
        if not 200 <= answer.status < 300:
            raise NotSent(f"the service answered HTTP status {answer.status}")
        try:
            document = json.loads(text)
        except ValueError:
            document = {}
        return document if isinstance(document, dict) else {}


def check(answer: Mapping[str, Any], code: str, text: str) -> None:
    """Success is told, not assumed: an answer without the code is none (M7)."""
    if answer.get(code) != 0:
        raise NotSent(f"the service answered {code} {answer.get(code, 'missing')}: {str(answer.get(text, ''))[:200]}")
