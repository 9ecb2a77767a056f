"""How a container leaves its engine; see ``ending``."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.process.ports import Command
from adapters.process.supervisor import Supervisor
from adapters.runners.container.client import Lines, connect, translated
from adapters.runners.container.nerdctl import base_words, failed
from adapters.runners.container.owner import RUN
from adapters.runners.container.request import Engine
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken

READ = 10.0  # seconds one answer may take
LIMIT = 30.0  # seconds one command may take


@dataclass(frozen=True, slots=True)
class ByApi:
    """Of the Docker API. ``container`` is its id; "" where the engine has not answered: it is found by ``run`` then."""

    engine: Engine
    tls: Mapping[str, Any] | None
    temporary: str
    run: str
    container: str

    @property
    def name(self) -> str:
        return f"container {self.container[:12]}" if self.container else "the container of this run"

    def stop(self, seconds: float, token: CancelToken) -> None:
        until = time.monotonic() + seconds
        with self._asked(seconds, token) as api:
            for name in self._names(api):
                left = max(0.1, until - time.monotonic())
                path = api._url("/containers/{0}/stop", name)
                api._raise_for_status(api._post(path, params={"t": math.ceil(seconds)}, timeout=left))

    def remove(self, token: CancelToken) -> bool:
        from docker.errors import NotFound

        with self._asked(READ, token) as api:
            names = self._names(api)
            for name in names:
                with contextlib.suppress(NotFound):
                    api.remove_container(name, force=True, v=True)
        return bool(names)

    def _names(self, api: Any) -> list[str]:
        if self.container:
            return [self.container]
        return [row["Id"] for row in api.containers(all=True, filters={"label": [f"{RUN}={self.run}"]})]

    @contextlib.contextmanager
    def _asked(self, seconds: float, token: CancelToken) -> Iterator[Any]:
        lines = Lines()

        def cut(_: CancelRequest) -> None:
            lines.cut()

        token.subscribe(cut)
        try:
            with translated():
                api = connect(self.engine, self.tls, lines, seconds, self.temporary)
                try:
                    yield api
                finally:
                    api.close()
        finally:
            token.unsubscribe(cut)


@dataclass(frozen=True, slots=True)
class ByNerdctl:
    """Of containerd: the client may be gone, its container is not."""

    engine: Engine
    environment: Mapping[str, str]
    run: str

    @property
    def name(self) -> str:
        return "the container of this run"

    def stop(self, seconds: float, token: CancelToken) -> None:
        if names := self._names(seconds, token):
            self._nerdctl(["stop", "--time", str(math.ceil(seconds)), *names], seconds, token)

    def remove(self, token: CancelToken) -> bool:
        names = self._names(LIMIT, token)
        if names:
            self._nerdctl(["rm", "--force", "--volumes", *names], LIMIT, token)
        return bool(names)

    def _names(self, limit: float, token: CancelToken) -> list[str]:
        """By the label: the name that a task asks for may be that of somebody else's container."""
        words = ["ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={RUN}={self.run}"]
        return self._nerdctl(words, limit, token).split()

    def _nerdctl(self, words: list[str], limit: float, token: CancelToken) -> str:
        own = Supervisor()
        try:
            command = Command([*base_words(self.engine), *words], None, self.environment, timeout=limit, grace=0.1)
            ended = own.run(command, token)
        finally:
            own.close()
        if ended.reason is not EndReason.COMPLETED:
            raise failed(words[0], ended)
        return ended.stdout.decode("utf-8", "replace")
