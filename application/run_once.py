"""One task here and now, without a server: the same execution as the worker's, for ``exec`` and for teams' tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from application.execution import Execution
from application.ports import Offer
from application.runs import Run
from domain.result import Result
from domain.runner import CancelToken
from domain.task import Task


def run_once(
    execution: Execution,
    task: Task,
    log: Callable[[bytes], None],
    redact: Callable[[str], str],
    token: CancelToken | None = None,
) -> Result:
    """Run ``task`` on the calling thread; never raises for what it does. ``token`` stops it, from any thread.

    ``log`` gets its output as it comes, or at the end where its runner has nothing to show before.
    """
    run = Run(task, Offer(task), token or CancelToken())
    result = execution.run(run, log)
    result = replace(result, output=redact(result.output), error=redact(result.error))
    if result.output and not run.live_output:
        log(f"{result.output}\n".encode("utf-8", "replace"))
    return result
