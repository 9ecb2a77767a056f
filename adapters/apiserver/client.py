"""What the parts of the API server need of its HTTP client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Client(Protocol):
    """One exchange a call, within ``timeout`` seconds; returns the answer's ``data``. Any thread.

    Raises Unavailable, NotFound, Refused and their kinds in ``answers``. ``repeatable``: harmless to send again, where
    the connection broke before the answer.
    """

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        timeout: float | None = None,
        repeatable: bool = True,
    ) -> Any: ...
    def post(
        self,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        repeatable: bool = False,
    ) -> Any: ...
    def put(self, path: str, document: Mapping[str, Any], *, timeout: float | None = None) -> Any: ...
    def close(self) -> None:
        """Refuse later calls; those under way end at once. Idempotent."""
