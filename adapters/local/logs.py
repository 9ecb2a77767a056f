"""What runs of the schedule print: kept in the history, and shown in the worker's own log."""

from __future__ import annotations

import threading

from adapters.local.echo import Echo
from adapters.local.errors import as_unavailable
from adapters.local.store import Run, Store
from application.ports import LogPiece, Taken


class LocalLogs:
    """The TaskLogs port. Any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._echo = Echo()

    def append(self, piece: LogPiece) -> Taken:
        with as_unavailable():
            size = self._store.log_size(piece.task_id)
            fresh = piece.data[max(0, size - piece.offset) :]  # a previous run may have told more than it knew
            if not fresh:
                return Taken(max(size, piece.end))
            text = fresh.decode("utf-8", "replace")
            self._store.append_log(piece.task_id, text)
            run = self._store.get(piece.task_id)
        if run is not None:
            with self._guard:
                self._echo.show(run, text)
        return Taken(piece.end)

    def end(self, run: Run) -> None:
        """Show what the run's last line says; more may come."""
        with self._guard:
            self._echo.end(run)
