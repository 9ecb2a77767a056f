"""Whose a container is, and on which engines this worker has run any: what the next start needs to clean up (G77)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import threading
import uuid
from dataclasses import asdict
from pathlib import Path

from adapters.process.temporary_files import ANYBODY
from adapters.runners.container.ending import Endings
from adapters.runners.container.request import Engine

log = logging.getLogger("worker.container")

TASK, RUN = "cronjob-worker.task", "cronjob-worker.run"  # a run is one attempt of a task
WORKER, LIFE, BOUND = "cronjob-worker.worker", "cronjob-worker.life", "cronjob-worker.bound"
MOST = 50  # engines that are remembered


class Owner:
    """One life of a worker. Without a directory nothing is remembered for the next one. Any thread.

    ``endings``: its containers that have to go, and that their engines have not removed yet.
    """

    def __init__(self, worker_id: str = "", directory: Path | None = None, temporary: str = ANYBODY) -> None:
        """``temporary`` is what the names of this worker's temporary files begin with."""
        self.worker_id = worker_id
        self.temporary = temporary
        self.life = uuid.uuid4().hex
        self.endings = Endings()
        self._directory = directory
        self._guard = threading.Lock()
        self._noted: set[Engine] = set()

    @property
    def labels(self) -> dict[str, str]:
        return {WORKER: self.worker_id, LIFE: self.life}

    def note(self, engine: Engine) -> None:
        """Remember the engine, durably, before it is asked to make a container. Never raises."""
        with self._guard:
            if self._directory is None or engine in self._noted:
                return
            try:
                self._directory.mkdir(mode=0o700, exist_ok=True)
                _keep(self._directory, _name(engine), _text(engine))
            except OSError as error:
                log.warning("a container that a crash leaves may stay: %s cannot be kept (%s)", engine.runtime, error)
                return
            self._noted.add(engine)

    def engines(self) -> list[Engine]:
        """The engines on which previous runs may have left something, the latest first."""
        if self._directory is None:
            return []
        found = []
        with contextlib.suppress(OSError):
            files = sorted(self._directory.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
            for old in files[MOST:]:
                old.unlink(missing_ok=True)
            for path in files[:MOST]:
                with contextlib.suppress(OSError, ValueError, TypeError):
                    found.append(Engine(**json.loads(path.read_text(encoding="utf-8"))))
        return found

    def forget(self, engine: Engine) -> None:
        """Nothing of a previous run is left on this engine."""
        with self._guard:
            if self._directory is not None and engine not in self._noted:
                with contextlib.suppress(OSError):
                    (self._directory / _name(engine)).unlink(missing_ok=True)


def _text(engine: Engine) -> str:
    return json.dumps(asdict(engine))


def _name(engine: Engine) -> str:
    return hashlib.sha256(_text(engine).encode()).hexdigest()[:32] + ".json"


def _keep(directory: Path, name: str, text: str) -> None:
    descriptor, draft = tempfile.mkstemp(dir=directory)  # 0600
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, directory / name)
    above = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(above)
    finally:
        os.close(above)
