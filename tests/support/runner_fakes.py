"""What runners are given in tests: credentials, and programs that are never started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapters.process.ports import Command, Exit
from domain.result import EndReason
from domain.runner import CancelToken, Credential


class Keys:
    """A source that knows one credential; ``asked`` are the ids that it was asked for."""

    def __init__(self, category: str, /, **value: Any) -> None:
        self._category, self._value = category, value
        self.asked: list[str] = []

    def credential(self, credential_id: str) -> Credential:
        self.asked.append(credential_id)
        return Credential(credential_id, self._category, "deploy", self._value)


class Programs:
    """Ends every command at once, as ``ended`` says; ``commands`` are those that were run."""

    def __init__(self, ended: Callable[[Command], Exit] | Exit | None = None) -> None:
        self._ended = ended or Exit(EndReason.COMPLETED, 0)
        self.commands: list[Command] = []

    def when_dead(self, tell: Callable[[BaseException], None]) -> None: ...

    def run(self, command: Command, cancel: CancelToken) -> Exit:
        self.commands.append(command)
        return self._ended if isinstance(self._ended, Exit) else self._ended(command)

    def close(self) -> None: ...
