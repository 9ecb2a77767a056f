"""What the use-cases need from outside. Each docstring is the contract of its adapters; the contract suites in
``adapters/testkit`` check it. Errors are those of ``domain.errors`` and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from application.ports.logs import LogHistory as LogHistory
from application.ports.logs import LogPiece as LogPiece
from application.ports.logs import Taken as Taken
from application.ports.logs import TaskLogs as TaskLogs
from application.ports.outcomes import Claim as Claim
from application.ports.outcomes import Claims as Claims
from application.ports.outcomes import Outcomes as Outcomes
from application.ports.outcomes import ReadBack as ReadBack
from application.ports.outcomes import Receipt as Receipt
from application.ports.outcomes import Report as Report
from application.ports.outcomes import Verb as Verb
from application.ports.runtime import Event as Event
from application.ports.runtime import Runtime as Runtime
from application.ports.runtime import Thread as Thread
from application.ports.server import Approvals as Approvals
from application.ports.server import Category as Category
from application.ports.server import CategoryScripts as CategoryScripts
from application.ports.server import NoApprovals as NoApprovals
from application.ports.server import NoCredentials as NoCredentials
from application.ports.server import NoScripts as NoScripts
from application.ports.server import Server as Server
from application.ports.state import Entry as Entry
from application.ports.state import Journal as Journal
from application.ports.state import LogSpool as LogSpool
from application.ports.stream import Identity as Identity
from application.ports.stream import LinkTimes as LinkTimes
from application.ports.stream import Offer as Offer
from application.ports.stream import Stop as Stop
from application.ports.stream import Stream as Stream
from application.ports.watch import Metrics as Metrics
from application.ports.watch import OrphanProcesses as OrphanProcesses
from application.ports.watch import Watchdog as Watchdog


@dataclass(frozen=True, slots=True)
class Host:
    """The machine that the worker runs on."""

    runtime: Runtime
    metrics: Metrics
    orphans: OrphanProcesses
    watchdog: Watchdog


@dataclass(frozen=True, slots=True)
class Disk:
    """What outlives the worker."""

    journal: Journal
    spool: LogSpool


@dataclass(frozen=True, slots=True)
class Limits:
    """How the use-cases behave; all times in seconds.

    ``on_lost_lease`` is what a run does without its claim: ``keep`` on, ``stop``, or ``auto``: as the server protects
    what runs (``Claims.keeps_running``).
    """

    concurrency: int = 100
    grace: float = 10.0
    lease_ttl: float = 60.0
    on_lost_lease: str = "auto"
    acquire_ttl: float = 10.0
    request_timeout: float = 10.0
    drain: float = 60.0
    outbox: int = 1000
    output_limit: int = 60_000
    dead_letter_age: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Node:
    """This worker: who it is and how it behaves."""

    identity: Identity
    limits: Limits
