"""What the modelled server saw and did, append-only: the evidence that checkers judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened. ``holder`` is the value of the task's lock at that moment, empty if it was free."""

    at: float
    kind: str
    task: str = ""
    worker: str = ""
    holder: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


class History:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        self.records.append(record)

    def of(self, kind: str, task: str | None = None) -> list[Record]:
        return [record for record in self.records if record.kind == kind and task in (None, record.task)]
