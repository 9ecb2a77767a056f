"""Asks people, and leaves the task running at the server until they answer (category ``approval``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from adapters.runners.arguments import decode, need
from adapters.runners.base import BaseRunner
from domain.errors import CoordinationError, InvalidTask
from domain.result import EndReason, Result
from domain.runner import Approval, ExecutionContext
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
    """Creates the approval and returns with the task still running: the server ends it when somebody answers."""

    default_timeout = None

    def __init__(self) -> None:
        super().__init__()
        self._args = ApprovalArgs()

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
        approval_id = context.approvals.create_approval(
            context.task_id,
            Approval(
                title=args.title,
                content=args.content,
                context=args.context,
                user_ids=tuple(args.user_ids),
                ai_agent_ids=tuple(args.ai_agent_ids),
                require_all=args.require_all,
                timeout=seconds,
                metadata=args.metadata,
            ),
        )
        if self.cancel.requested:
            return self._withdraw(context, approval_id)
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

    def _withdraw(self, context: ExecutionContext, approval_id: str) -> Result:
        """Stopped between the question and its confirmation: nobody is to answer it any more (A2)."""
        assert context.approvals is not None
        try:
            context.approvals.cancel_approval(approval_id)
        except CoordinationError as error:
            return self.cancelled(log=f"the approval {approval_id} could not be withdrawn: {error}")
        return self.cancelled(log=f"the approval {approval_id} was withdrawn")

    def _arm_deadline(self) -> Callable[[], None]:
        """The time-out of an approval is the server's business."""
        return lambda: None
