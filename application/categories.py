"""Which categories this worker takes: those that its machine is ready for (G82).

The server keeps three shell texts for a category. ``check`` tells whether the machine is ready; where it is not,
``setup`` makes it so and ``check`` decides again; ``teardown`` undoes a setup when the worker ends. They run once for
each text and not at each reconnect, as a task of the category ``command`` would: same guard, process group, time-out
and clean-up. A category whose scripts fail is left out of the registration; the worker goes on without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from application.execution import Execution
from application.ports import Category, CategoryScripts, Event, Identity, Node, Offer, Runtime
from application.runs import Run
from domain.errors import CoordinationError, NotFound, Refused
from domain.result import EndReason
from domain.runner import CancelRequest, Urgency
from domain.status import Status
from domain.task import Metadata, Task

log = logging.getLogger("worker.categories")

PERIOD = 600.0  # seconds between two looks at the server's texts, and at a machine that was not ready
SCRIPT_LIMIT = 300  # seconds for one script
TEARDOWN_LIMIT = 30.0  # seconds for all teardowns together


@dataclass(slots=True)
class Verdict:
    """What came of a category's texts at ``checked_at``. ``why_not`` is empty where the machine is ready."""

    texts: Category
    checked_at: float
    why_not: str = ""
    was_set_up: bool = False


class CategoryKeeper:
    """``tasks`` may be read from any thread; one loop decides it. ``changed`` is told when it differs; must not block.

    ``decided`` is set when the first look is over: whoever registers before would have to do it again.
    """

    def __init__(
        self, runtime: Runtime, scripts: CategoryScripts, node: Node, execution: Execution, changed: Callable[[], None]
    ) -> None:
        self._runtime = runtime
        self._scripts = scripts
        self._node = node
        self._execution = execution
        self._changed = changed
        self._verdicts: dict[str, Verdict] = {}
        self._script: Run | None = None
        self._ending = False
        self._wake = runtime.event()
        self.tasks = node.identity.tasks
        self.decided: Event = runtime.event()

    @property
    def identity(self) -> Identity:
        """This worker with the categories that it takes now."""
        return replace(self._node.identity, tasks=self.tasks)

    def takes(self, task: Task) -> bool:
        identity = self._node.identity
        return task.category in self.tasks and task.is_for(identity.id, identity.name)

    def wake(self) -> None:
        """The link is up again: the texts may have changed meanwhile."""
        self._wake.set()

    def end(self) -> None:
        """Start no more scripts and kill the one that runs. Any thread, idempotent."""
        self._ending = True
        script = self._script
        if script is not None:
            script.token.cancel(CancelRequest(EndReason.SHUTDOWN, Urgency.NOW))
        self.decided.set()
        self._wake.set()

    def run(self, closing: Callable[[], bool]) -> None:
        """The loop."""
        while not closing():
            self._look()
            if not self._ending:
                self._decide()
            self._wake.wait(PERIOD)
            self._wake.clear()

    def tear_down(self) -> None:
        """Undo what ``setup`` scripts of this life did; after the last task, in bounded time."""
        deadline = self._runtime.now() + TEARDOWN_LIMIT
        for code, verdict in list(self._verdicts.items()):
            left = deadline - self._runtime.now()
            if verdict.was_set_up and left >= 1:
                why = self._execute(code, "teardown", verdict.texts.teardown, int(left))
                if why:
                    log.error("the teardown of category %s failed: %s", code, why)

    def _decide(self) -> None:
        before, self.tasks = self.tasks, self._ready()
        if before != self.tasks:
            log.warning("the categories are now: %s", ", ".join(self.tasks) or "none")
            if self.decided.is_set():
                self._changed()
        self.decided.set()

    def _ready(self) -> tuple[str, ...]:
        """What the server was not asked about yet is taken: its tasks fail by themselves where the machine is bare."""
        return tuple(
            code
            for code in self._node.identity.tasks
            if (verdict := self._verdicts.get(code)) is None or not verdict.why_not
        )

    def _look(self) -> None:
        for code in self._node.identity.tasks:
            if self._ending:
                return
            now = self._runtime.now()
            try:
                texts = self._scripts.category(code)
            except (NotFound, Refused):
                texts = Category(code)
            except CoordinationError as error:
                log.info("the server cannot be asked for its categories: %s; it is asked again", error)
                return
            known = self._verdicts.get(code)
            if known is None or known.texts != texts:
                was_set_up = known is not None and known.was_set_up
                known = self._verdicts[code] = Verdict(texts, now, was_set_up=was_set_up)
                self._prepare(code, known)
            elif known.why_not and _is_text(texts.check) and now - known.checked_at >= PERIOD:
                known.checked_at = now
                known.why_not = self._execute(code, "check", texts.check, SCRIPT_LIMIT)

    def _prepare(self, code: str, verdict: Verdict) -> None:
        texts = verdict.texts
        why = self._execute(code, "check", texts.check, SCRIPT_LIMIT)
        if _is_text(texts.setup) and (why or not _is_text(texts.check)):
            verdict.was_set_up = True
            why = self._execute(code, "setup", texts.setup, SCRIPT_LIMIT) or self._execute(
                code, "check", texts.check, SCRIPT_LIMIT
            )
        verdict.why_not = why
        if why and not self._ending:
            log.error("tasks of category %s are not taken: %s", code, why)

    def _execute(self, code: str, kind: str, text: str, limit: int) -> str:
        """Run one script; empty if there is none or if it went well, else why not."""
        if not _is_text(text):
            return ""
        name = f"{kind} of category {code}"
        # In the worker's own directory, as the original does.
        task = Task("", "command", text, name=name, timeout=limit, metadata=Metadata(working_dir="."))
        run = self._script = Run(task, Offer(task))
        if self._ending and kind != "teardown":
            return "the worker ends"
        log.info("%s runs", name)
        result = self._execution.run(run, lambda _: None)
        self._script = None
        if result.status is Status.SUCCESS:
            return ""
        return f"{kind} ended with {' '.join(result.error.split())[:300] or result.end_reason}"


def _is_text(text: str) -> bool:
    return text.strip() not in ("", "null")
