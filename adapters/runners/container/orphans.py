"""Removes the containers that previous runs of this worker left behind (G77)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from adapters.process.ports import Command, Exit
from adapters.runners.container.client import Lines, connect, secret_of, translated
from adapters.runners.container.nerdctl import base_words
from adapters.runners.container.owner import BOUND, LIFE, WORKER, Owner
from adapters.runners.container.request import ContainerFailed, Engine
from domain.errors import WorkerError
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, CredentialSource, Urgency

log = logging.getLogger("worker.container")

LOOKS = 2  # an engine may carry out, after the first look, what was asked of it just before the crash
PAUSES = (0.0, 5.0, 30.0, 120.0, 600.0)  # seconds before each round; an engine may come up later than the worker
READ = 10.0  # seconds one answer may take
LIMIT = 30.0  # seconds one look at one engine may take


class OrphanContainers:
    """A thread of its own, which ends by itself; an engine that never answers delays nobody and fails nothing.

    Removed are containers of previous runs that a task waited for, and those that never started. Those of other workers
    and of this life, and detached ones that run or ran, stay. ``run`` runs one command to its end.
    """

    def __init__(
        self,
        owner: Owner,
        credentials: CredentialSource | None = None,
        run: Callable[[Command, CancelToken], Exit] | None = None,
        environment: Callable[[], Mapping[str, str]] = dict,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._owner = owner
        self._credentials = credentials
        self._run = run
        self._environment = environment
        self._pauses = pauses
        self._temporary = owner.temporary
        self._closing = threading.Event()
        self._lines = Lines()
        self._token = CancelToken()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where a previous run has used an engine at all. Returns at once, never raises."""
        if engines := self._owner.engines():
            self._thread = threading.Thread(target=self._rounds, args=(engines,), name="orphan-containers", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Leave the rest to the next start, also what this life still has to end; waits for 2 s at most. Idempotent."""
        self._closing.set()
        self._owner.endings.close()
        self._lines.cut()
        self._token.cancel(CancelRequest(EndReason.SHUTDOWN, Urgency.NOW))
        if self._thread is not None:
            self._thread.join(1.0)

    def _rounds(self, engines: list[Engine]) -> None:
        owed = dict.fromkeys(engines, LOOKS)
        for pause in self._pauses:
            if self._closing.wait(pause):
                return
            for engine in list(owed):
                if self._closing.is_set():
                    return
                owed[engine] -= self._look(engine)
                if not owed[engine]:
                    del owed[engine]
                    self._owner.forget(engine)
            if not owed:
                return
        for engine in owed:
            log.warning("what a previous run left on %s may still be there; the next start tries anew", _called(engine))

    def _look(self, engine: Engine) -> bool:
        """Remove what is left; True if the engine answered and nothing that should go is there any more."""
        try:
            if engine.runtime == "containerd":
                for container in self._on_containerd(engine):
                    _tell(container, engine)
            else:
                self._on_engine(engine)
        except (ContainerFailed, WorkerError, OSError) as error:
            if not self._closing.is_set():
                log.info("no look for what a previous run left on %s: %s", _called(engine), error)
            return False
        return True

    def _on_engine(self, engine: Engine) -> None:
        self._lines = Lines()
        if self._closing.is_set():
            self._lines.cut()
        limit = threading.Timer(LIMIT, self._lines.cut)
        limit.start()
        try:
            tls = secret_of(self._credentials, engine.tls_cred, "key_value")
            with translated():
                api = connect(engine, tls, self._lines, READ, self._temporary)
                try:
                    self._remove_all(api, engine)
                finally:
                    api.close()
        finally:
            limit.cancel()

    def _remove_all(self, api: Any, engine: Engine) -> None:
        """One that the engine refuses to remove keeps none of the others."""
        refused: ContainerFailed | None = None
        for row in api.containers(all=True, filters={"label": [f"{WORKER}={self._owner.worker_id}"]}):
            labels: Mapping[str, Any] = row.get("Labels") or {}
            bound = labels.get(BOUND) == "true"
            if labels.get(LIFE) == self._owner.life or not (bound or row["State"] == "created"):
                continue
            try:
                # Without force the engine refuses one that has started since: a detached one lives on.
                with translated():
                    api.remove_container(row["Id"], force=bound, v=True)
                _tell(row["Id"], engine)
            except ContainerFailed as error:
                refused = error
        if refused is not None:
            raise refused

    def _on_containerd(self, engine: Engine) -> list[str]:
        mine = self._listed(engine, f"label={WORKER}={self._owner.worker_id}")
        if not mine:
            return []
        now = self._listed(engine, f"label={LIFE}={self._owner.life}")
        bound = self._listed(engine, f"label={BOUND}=true") & mine - now
        idle = self._listed(engine, "status=created") & mine - now - bound
        for containers, force in ((bound, ["--force"]), (idle, [])):
            if containers:
                self._nerdctl(engine, "rm", *force, "--volumes", *sorted(containers))
        return sorted(bound | idle)

    def _listed(self, engine: Engine, wanted: str) -> set[str]:
        return set(self._nerdctl(engine, "ps", "--all", "--quiet", "--no-trunc", "--filter", wanted).split())

    def _nerdctl(self, engine: Engine, *words: str) -> str:
        if self._run is None:
            raise ContainerFailed("nothing is there to run nerdctl with")
        command = Command([*base_words(engine), *words], None, self._environment(), timeout=LIMIT, grace=1.0)
        ended = self._run(command, self._token)
        if ended.reason is not EndReason.COMPLETED:
            raise ContainerFailed(ended.stderr.decode("utf-8", "replace").strip()[-300:] or ended.error)
        return ended.stdout.decode("utf-8", "replace")


def _tell(container: str, engine: Engine) -> None:
    log.warning("removed container %s on %s, left by a previous run", container[:12], _called(engine))


def _called(engine: Engine) -> str:
    return f"{engine.runtime} at {engine.host or engine.socket or 'its usual socket'}"
