"""An event to the use-case that answers it. Runs on the link thread and never blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable

from application.approvals import LEFT_RUNNING
from application.ports import Metrics
from application.run_task import RunTask
from application.runs import RunTable
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency
from domain.task import Action, Task, TaskEvent

log = logging.getLogger("worker.dispatch")

ENDINGS = {
    Action.STOP: CancelRequest(EndReason.STOPPED, Urgency.POLITE, "stopped on request"),
    Action.KILL: CancelRequest(EndReason.KILLED, Urgency.NOW, "killed on request"),
    Action.TIMEOUT: CancelRequest(EndReason.TIMEOUT, Urgency.POLITE, "the server says that its time is over"),
}


class Dispatcher:
    """``takes`` tells whether a task is for this worker; ``orphan`` is told of endings for tasks not in hand, which may
    be left from a former life, and for those whose run leaves them running."""

    def __init__(
        self,
        takes: Callable[[Task], bool],
        table: RunTable,
        run_task: RunTask,
        orphan: Callable[[str], None],
        metrics: Metrics,
    ) -> None:
        self._takes = takes
        self._table = table
        self._run_task = run_task
        self._orphan = orphan
        self._metrics = metrics

    def handle(self, event: TaskEvent) -> None:
        for task in event.tasks:
            if event.action in (Action.RUN, Action.RETRY):
                self._offer(task)
            else:
                self._end(task, ENDINGS[event.action])

    def _offer(self, task: Task) -> None:
        self._metrics.count("events_received")
        if not self._takes(task):
            self._metrics.count("events_not_mine")
            return
        self._run_task.submit(task)

    def _end(self, task: Task, request: CancelRequest) -> None:
        run = self._table.find(task.id)
        if run is None or run.task.category in LEFT_RUNNING:  # such a run may have no ears any more
            self._orphan(task.id)
        if run is None:
            return
        log.info("%s", request.note, extra=run.label)
        run.token.cancel(request)
