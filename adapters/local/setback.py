"""What a clock that was set back means for what was planned while it was ahead."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from adapters.local.runs import label
from adapters.local.schedule import Job
from adapters.local.store import Store

log = logging.getLogger("worker.schedule")

LATE = 90.0  # seconds after which a moment counts as missed, and a clock as set back and not merely as corrected
REPEATED = 3 * 3600.0  # seconds: set back by more, a clock was wrong, and what ran by it proves nothing


def stands(job: Job, seen: datetime, now: datetime, ran: bool) -> bool:
    """Whether the job still goes on behind ``seen``, its last moment; ``ran`` tells whether it had a run then.

    As cron does: a fixed time that ran shortly before the clock was set back does not run again; all else does.
    """
    ahead = (seen - now).total_seconds()
    return ahead <= LATE or (ahead <= REPEATED and job.cron.fixed and ran)


def bring_back(store: Store, jobs: Mapping[str, Job], now: datetime) -> None:
    """Retries wait no longer than their pause; runs that a clock far ahead made due are ended."""
    for run in store.live():
        if run.status != "pending":
            continue
        ahead = run.planned - now.timestamp()
        job = jobs.get(run.job)
        if run.retry and job is not None and ahead > job.retry_delay:
            store.plan_for(run.id, now.timestamp() + job.retry_delay)
        elif not run.retry and ahead > REPEATED:
            store.end(run.id, "skipped", "", "the clock was ahead when it was planned", now.timestamp())
            log.warning("skipped: the clock was ahead when it was planned", extra=label(run))
