"""Asks people, and leaves the task running at the server until they answer (category ``approval``)."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime

from adapters.runners.arguments import decode, need
from adapters.runners.base import BaseRunner
from domain.errors import CoordinationError, InvalidTask
from domain.result import EndReason, Result
from domain.runner import Approval, ApprovalDesk, CancelRequest, ExecutionContext
from domain.status import Status

DEFAULT_TIMEOUT = 3600


@dataclass(frozen=True, slots=True)
class ApprovalArgs:
    title: str = ""
    content: str = ""
    context: str = ""
    metadata: str = ""
    user_ids: list[str] = field(default_factory=list)
    ai_agent_ids: list[str] = field(default_factory=list)
    require_all: bool = False
    timeout: int = 0


class ApprovalRunner(BaseRunner):
    """Creates the approval and returns with the task still running: the server ends it when somebody answers.

    The task's time-out limits the asking; how long people may take is the approval's own ``timeout``.
    """

    default_timeout = None

    def __init__(self) -> None:
        super().__init__()
        self._args = ApprovalArgs()
        self._over = threading.Condition()
        self._left = False
        self._answer: str | Exception | None = None

    def parse_args(self, command: str, args: str) -> None:
        found = decode(args, ApprovalArgs)
        need(found.title, "title")
        if not found.user_ids and not found.ai_agent_ids:
            raise InvalidTask("user_ids and ai_agent_ids are both empty: somebody has to be asked")
        found = replace(found, context=found.context.strip() or "{}", metadata=found.metadata.strip() or "{}")
        for key in ("context", "metadata"):
            try:
                json.loads(getattr(found, key))
            except ValueError:
                raise InvalidTask(f"{key} must be JSON in a string") from None
        self._args = found

    def run(self, context: ExecutionContext) -> Result:
        if context.approvals is None:
            raise InvalidTask("an approval needs an API server")
        args = self._args
        seconds = args.timeout if args.timeout > 0 else int(self.timeout or 0) or DEFAULT_TIMEOUT
        context.log(f"[Approval] asking for {args.title!r}\n".encode())
        approval = Approval(
            title=args.title,
            content=args.content,
            context=args.context,
            user_ids=tuple(args.user_ids),
            ai_agent_ids=tuple(args.ai_agent_ids),
            require_all=args.require_all,
            timeout=seconds,
            metadata=args.metadata,
            workflow_exec_id=context.workflow_exec_id,
        )
        approval_id = self._ask(context, approval)
        if approval_id is None:
            return self.cancelled(log="the server did not answer; if the question reached it, it is withdrawn")
        if self.cancel.requested:
            return self.cancelled(log=withdraw(context.approvals, approval_id))
        context.log(f"[Approval] waiting for an answer, {seconds} s at most\n".encode())
        output = {
            "approval_id": approval_id,
            "approval_title": args.title,
            "approval_status": "pending",
            "user_count": len(args.user_ids),
            "ai_agent_count": len(args.ai_agent_ids),
            "require_all": args.require_all,
            "timeout": seconds,
            "message": "审批已创建,等待审批结果",
            "created_at": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        return Result(Status.RUNNING, EndReason.COMPLETED, output=json.dumps(output, ensure_ascii=False))

    def _ask(self, context: ExecutionContext, approval: Approval) -> str | None:
        """The approval's id, or None if the run was cancelled first: a silent server must not keep a stopped task.

        Raises what asking raised. The thread that asks ends with the API client's own limit.
        """
        assert context.approvals is not None
        asking = threading.Thread(target=self._create, args=(context, approval), name="approval", daemon=True)
        asking.start()
        self.cancel.subscribe(self._leave)
        try:
            with self._over:
                self._over.wait_for(lambda: self._answer is not None or self.cancel.requested)
                self._left = self._answer is None
        finally:
            self.cancel.unsubscribe(self._leave)
        if isinstance(self._answer, Exception):
            raise self._answer
        return None if self._left else self._answer

    def _leave(self, _: CancelRequest) -> None:
        with self._over:
            self._over.notify_all()

    def _create(self, context: ExecutionContext, approval: Approval) -> None:
        assert context.approvals is not None
        answer: str | Exception
        try:
            answer = context.approvals.create_approval(context.task_id, approval)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            answer = error
        with self._over:
            late = self._left
            if not late:
                self._answer = answer
            self._over.notify_all()
        if late and isinstance(answer, str):
            withdraw(context.approvals, answer)


def withdraw(desk: ApprovalDesk, approval_id: str) -> str:
    """Stopped between the question and its confirmation: nobody is to answer it any more (A2). Returns what became."""
    try:
        desk.cancel_approval(approval_id)
    except CoordinationError as error:
        return f"the approval {approval_id} could not be withdrawn: {error}"
    return f"the approval {approval_id} was withdrawn"
