"""The store's errors as those of the ports."""

from __future__ import annotations

from domain.errors import ConnectionLost, JournalError, Unavailable


class _Translate:
    def __init__(self, to: type[Exception]) -> None:
        self._to = to

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, JournalError):
            raise self._to(str(error)) from error


def as_lost() -> _Translate:
    return _Translate(ConnectionLost)


def as_unavailable() -> _Translate:
    return _Translate(Unavailable)
