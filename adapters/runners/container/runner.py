"""The container runner: checks, connects, performs one action, and reaches the container when it has to end."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adapters.process.ports import Processes
from adapters.process.workdir import NoWorkingDirectory, prepare
from adapters.runners.base import BaseRunner
from adapters.runners.command import ProcessOptions, ProcessRunner, Tee
from adapters.runners.container.actions import Actions
from adapters.runners.container.client import Lines, connect, secret_of, translated
from adapters.runners.container.nerdctl import Nerdctl
from adapters.runners.container.owner import BOUND, Owner
from adapters.runners.container.policy import ContainerPolicy
from adapters.runners.container.request import ContainerFailed, Request, checked
from adapters.runners.output import shortened
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import CancelRequest, ExecutionContext, Urgency

TASK, RUN = "cronjob-worker.task", "cronjob-worker.run"  # a run is one attempt of a task


class ContainerRunner(ProcessRunner):
    """One action on an engine. A container that the task waits for ends with the task; a detached one lives on."""

    def __init__(
        self,
        processes: Processes | None = None,
        options: ProcessOptions | None = None,
        policy: ContainerPolicy | None = None,
        owner: Owner | None = None,
    ) -> None:
        super().__init__(processes, options)
        self._policy = policy or ContainerPolicy()
        self._owner = owner or Owner()
        self._request = Request()
        self._container = ""
        self._tls: Mapping[str, Any] | None = None

    def _arm_deadline(self) -> Callable[[], None]:
        """The engine does not keep the task's time, so the runner does."""
        return BaseRunner._arm_deadline(self)

    def parse_args(self, command: str, args: str) -> None:
        request = checked(args)
        self._policy.check(request)
        self._request = request

    def run(self, context: ExecutionContext) -> Result:
        request = self._request
        try:
            directory = prepare(context, use_default=False) or Path.cwd()
        except NoWorkingDirectory as error:
            return self.end(EndReason.NO_SUCH_DIRECTORY, error=str(error), exit_code=-1)
        log = Tee(context.log, self.options.keep)
        log.write(f"{request.runtime}: {request.action}\n".encode())
        if request.action == "run":
            self._owner.note(request.engine)
        try:
            if request.runtime == "containerd":
                auth = self._auth(context)
                if auth:
                    raise InvalidTask("registry_cred is not supported with containerd: log in with nerdctl instead")
                nerdctl = Nerdctl(self.run_process, self.options, self.environment(ExecutionContext()), log.write)
                output = nerdctl.perform(request, self._labels(context), directory, self.cancel)
            else:
                output = self._on_engine(context, directory, log)
        except ContainerFailed as failed:
            text = log.value().decode("utf-8", "replace")
            if self.cancel.requested:
                return self.cancelled(log=text)
            return self.end(EndReason.FAILED, output=json.dumps({"error": str(failed)}), error=str(failed), log=text)
        for key in ("output", "logs"):
            if key in output and (short := shortened(output[key])) != output[key]:
                output |= {key: short, "truncated": True}
        code = output.get("exit_code", 0)
        document = json.dumps(output, ensure_ascii=False)
        text = log.value().decode("utf-8", "replace")
        if code:
            told = f"the container's command ended with code {code}"
            return self.end(EndReason.EXIT_CODE, output=document, error=told, log=text, exit_code=code)
        return self.end(EndReason.COMPLETED, output=document, log=text)

    def _labels(self, context: ExecutionContext) -> dict[str, str]:
        bound = "false" if self._request.detach else "true"
        return {TASK: context.task_id, RUN: uuid.uuid4().hex, BOUND: bound} | self._owner.labels

    def _on_engine(self, context: ExecutionContext, directory: Path, log: Tee) -> dict[str, Any]:
        request, lines = self._request, Lines()
        labels = self._labels(context)
        auth, self._tls = self._auth(context), secret_of(context.credentials, request.tls_cred, "key_value")

        def cut(_: CancelRequest) -> None:
            lines.cut()

        self.cancel.subscribe(cut)
        try:
            with translated():
                api = connect(request.engine, self._tls, lines, None, self.options.temporary)
                try:
                    actions = Actions(api, request, log.write, labels, auth, directory, self.options.keep, self._know)
                    output = actions.perform()
                finally:
                    api.close()
        except ContainerFailed:
            if request.action == "run" and self.cancel.requested:
                self._end_container(labels)
            raise
        finally:
            self.cancel.unsubscribe(cut)
        if self.cancel.requested and request.action == "run" and not request.detach:
            # The stop may have come while the last words were read: the container is what counts.
            self._end_container(labels)
            raise ContainerFailed("cancelled")
        return output

    def _know(self, container: str) -> None:
        self._container = container

    def _end_container(self, labels: Mapping[str, str]) -> None:
        """TERM, grace, KILL by the engine, then remove; a kill that comes meanwhile cuts the wait short."""
        # A request's own limit: the SDK adds the grace to the one of ``stop``.
        lines, grace = Lines(), self.options.grace

        def cut(request: CancelRequest) -> None:
            if request.urgency is Urgency.NOW:
                lines.cut()

        if self.cancel.urgency is not Urgency.NOW:
            self.cancel.subscribe(cut)
            try:
                with translated():
                    self._ask(lines, 0.5, labels, lambda api, name: api.stop(name, timeout=int(grace)))
            except ContainerFailed:
                pass  # no answer in time: what follows needs none of it
            finally:
                self.cancel.unsubscribe(cut)
        try:
            with translated():
                self._ask(Lines(), 0.4, labels, lambda api, name: api.remove_container(name, force=True, v=True))
        except ContainerFailed:
            return  # the engine does not answer; the label lets the next start clean up

    def _ask(self, lines: Lines, timeout: float, labels: Mapping[str, str], do: Callable[[Any, str], Any]) -> None:
        api = connect(self._request.engine, self._tls, lines, timeout, self.options.temporary)
        try:
            # The stop may have come between the engine's making of the container and its answer.
            wanted = {"label": [f"{RUN}={labels[RUN]}"]}
            names = (
                [self._container] if self._container else [row["Id"] for row in api.containers(True, filters=wanted)]
            )
            for name in names:
                do(api, name)
        finally:
            api.close()

    def _auth(self, context: ExecutionContext) -> dict[str, str] | None:
        value = secret_of(context.credentials, self._request.registry_cred, "username_password")
        if value is None:
            return None
        first = self._request.final_image.split("/")[0]
        server = first if "." in first or ":" in first else "https://index.docker.io/v1/"
        return {"username": value["username"], "password": value["password"], "serveraddress": server}
