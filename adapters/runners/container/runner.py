"""The container runner: checks, connects, performs one action, and reaches the container when it has to end."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.process.ports import Processes
from adapters.process.workdir import NoWorkingDirectory, prepare
from adapters.runners.base import BaseRunner
from adapters.runners.command import ProcessOptions, ProcessRunner, Tee
from adapters.runners.container.actions import Actions
from adapters.runners.container.client import Lines, connect, secret_of, translated
from adapters.runners.container.departure import ByApi, ByNerdctl
from adapters.runners.container.ending import Departure, Ending
from adapters.runners.container.nerdctl import Nerdctl
from adapters.runners.container.owner import BOUND, RUN, TASK, Owner
from adapters.runners.container.policy import ContainerPolicy
from adapters.runners.container.request import ClientDied, ContainerFailed, Request, checked
from adapters.runners.output import shortened
from domain.errors import InvalidTask
from domain.result import EndReason, Result
from domain.runner import CancelRequest, ExecutionContext, Urgency


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
        self._lasting = owner is not None  # somebody lives on who goes on asking
        self._asked: list[float] = []
        self._left = ""

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
        self.cancel.subscribe(lambda _: self._asked.append(time.monotonic()))
        log.write(f"{request.runtime}: {request.action}\n".encode())
        if request.action == "run":
            self._owner.note(request.engine)
        try:
            if request.runtime == "containerd":
                output = self._on_containerd(context, directory, log)
            else:
                output = self._on_engine(context, directory, log)
        except ContainerFailed as failed:
            text = log.value().decode("utf-8", "replace")
            if self.cancel.requested:
                result = self.cancelled(log=text)
            else:
                output = {"error": str(failed)}
                result = self.end(EndReason.FAILED, output=json.dumps(output), error=str(failed), log=text)
            return replace(result, error=f"{result.error}; {self._left}") if self._left else result
        if self._left:
            log.write(f"{self._left}\n".encode())
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

    def _on_containerd(self, context: ExecutionContext, directory: Path, log: Tee) -> dict[str, Any]:
        request, labels = self._request, self._labels(context)
        if self._auth(context):
            raise InvalidTask("registry_cred is not supported with containerd: log in with nerdctl instead")
        environment = self.environment(ExecutionContext())
        nerdctl = Nerdctl(self.run_process, self.options, environment, log.write)
        try:
            return nerdctl.perform(request, labels, directory, self.cancel)
        except ContainerFailed as failed:
            if request.action == "run" and (self.cancel.requested or isinstance(failed, ClientDied)):
                self._end(ByNerdctl(request.engine, environment, labels[RUN]))
            raise

    def _on_engine(self, context: ExecutionContext, directory: Path, log: Tee) -> dict[str, Any]:
        request, lines = self._request, Lines()
        labels = self._labels(context)
        auth, tls = self._auth(context), secret_of(context.credentials, request.tls_cred, "key_value")
        actions = Actions(None, request, log.write, labels, auth, directory, self.options.keep)

        def cut(_: CancelRequest) -> None:
            lines.cut()

        def departure() -> ByApi:
            return ByApi(request.engine, tls, self.options.temporary, labels[RUN], actions.container)

        self.cancel.subscribe(cut)
        try:
            with translated():
                actions.api = connect(request.engine, tls, lines, None, self.options.temporary)
                try:
                    output = actions.perform()
                finally:
                    actions.api.close()
        except Exception:
            # What never started, and what the task would have waited for, does not live on without it.
            if actions.asked and (self.cancel.requested or not (request.detach and actions.started)):
                self._end(departure())
            raise
        finally:
            self.cancel.unsubscribe(cut)
        if self.cancel.requested and not (request.action == "run" and request.detach):
            # The stop may have come while the last words were read, and the end of a stream that was cut looks like
            # any other: nobody knows whether all is there. Of a run, the container is what counts.
            if actions.asked:
                self._end(departure())
            raise ContainerFailed("cancelled")
        if actions.unremoved:
            self._end(departure())
        return output

    def _end(self, departure: Departure) -> None:
        """End the container, and wait for that as long as a task may take to end; what is not done by then goes on."""
        grace = 0.0 if self.cancel.urgency is Urgency.NOW else self.options.grace
        passed = time.monotonic() - self._asked[0] if self._asked else 0.0
        ending = Ending(departure, max(0.0, grace - passed))

        def hurry(request: CancelRequest) -> None:
            if request.urgency is Urgency.NOW:
                ending.hurry()

        self._owner.endings.begin(ending)
        self.cancel.subscribe(hurry)
        try:
            gone = ending.wait()
        finally:
            self.cancel.unsubscribe(hurry)
        if not gone:
            told = "is asked until it does" if self._lasting else "was not waited for: look for it there"
            self._left = f"the engine has not removed {departure.name} yet and {told}"
        if not self._lasting:
            ending.close()

    def _auth(self, context: ExecutionContext) -> dict[str, str] | None:
        value = secret_of(context.credentials, self._request.registry_cred, "username_password")
        if value is None:
            return None
        first = self._request.final_image.split("/")[0]
        server = first if "." in first or ":" in first else "https://index.docker.io/v1/"
        return {"username": value["username"], "password": value["password"], "serveraddress": server}
