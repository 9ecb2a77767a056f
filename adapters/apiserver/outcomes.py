"""The Outcomes port over the event stream, which acknowledges nothing (protocol 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from adapters.wire.messages import encode_report, encode_running
from application.ports import Identity, Receipt, Report

Encode = Callable[[Identity, str], bytes]


class Teller(Protocol):
    """Puts messages on the wire."""

    def tell(self, encode: Encode) -> None:
        """Send what ``encode`` makes of this worker's identity and its API key. Any thread. Raises ConnectionLost."""


class StreamOutcomes:
    """Every receipt is SENT: what counts is read back. The tokens of claims stay here."""

    def __init__(self, stream: Teller) -> None:
        self._stream = stream

    def running(self, task_id: str, token: str) -> Receipt:
        self._stream.tell(lambda identity, key: encode_running(task_id, identity, key))
        return Receipt.SENT

    def publish(self, report: Report, token: str) -> Receipt:
        self._stream.tell(lambda identity, key: encode_report(report, identity, key))
        return Receipt.SENT

    progress = publish
    hand_back = publish
