"""A Server as a whole: its optional parts, its errors, and its end."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from adapters.testkit.promises import kept
from adapters.testkit.transport.base import MakeLink, TransportCases
from adapters.testkit.transport.log_cases import KeptLog
from adapters.testkit.transport.site import Site
from adapters.testkit.transport.worker_link import ANSWER, ROOM, TTL, WorkerLink, ended, token
from application.ports import Offer, Report, Server, Verb
from domain.errors import Unavailable, WorkerError
from domain.runner import Approval
from domain.status import Status
from domain.task import Task


def calls_of(server: Server, task_id: str) -> list[Callable[[], object]]:
    """Each call of each part but ``connect``, for a task."""
    offer, proof, kept_log = Offer(Task(task_id, "command"), "1"), token(), KeptLog(task_id)
    kept_log.data = b"text\n"
    question = Approval("title", "content", "{}", (), (), False, 60, "{}")
    calls: list[Callable[[], object]] = [
        lambda: server.stream.receive(ROOM, 0.0),
        lambda: server.stream.decline(offer, "no slot is free", 0.0),
        server.stream.ping,
        server.stream.silence,
        lambda: server.claims.claim(offer, proof, TTL, ANSWER),
        lambda: server.claims.extend(task_id, proof, TTL, ANSWER),
        lambda: server.claims.settle(task_id, proof, ANSWER),
        lambda: server.outcomes.running(task_id, proof),
        lambda: server.outcomes.publish(ended(task_id), proof),
        lambda: server.outcomes.progress(Report(task_id, Verb.PROGRESS, output="{}"), proof),
        lambda: server.outcomes.hand_back(Report(task_id, Verb.HANDED_BACK), proof),
        lambda: server.credentials.credential(str(uuid.uuid4())),
        lambda: server.approvals.create_approval(task_id, question),
        lambda: server.approvals.cancel_approval(str(uuid.uuid4())),
        lambda: server.approvals.pending_approvals(task_id),
        lambda: server.scripts.category("nothing"),
    ]
    if server.read_back is not None:
        reader = server.read_back
        calls += [lambda: reader.fetch(task_id), lambda: reader.of_worker(str(uuid.uuid4()), Status.RUNNING, 10)]
    if server.logs is not None:
        logs = server.logs
        calls.append(lambda: logs.append(kept_log.piece()))
    return calls


class ServerCases(TransportCases):
    def test_the_parts_are_those_that_the_flags_tell(self, link: WorkerLink) -> None:
        for name in ("read_back", "logs"):
            there = getattr(link.opened, name) is not None
            kept(
                there is getattr(self, name),
                f"the flag {name} tells whether the Server has that part",
                f"it is {there}",
            )
        kept(bool(link.opened.name), "a Server has a name, which is said where it fails", "it is empty")
        kept(
            all(isinstance(it, str) for it in link.opened.secrets()),
            "Server.secrets gives texts",
            f"it gave {link.opened.secrets()}",
        )

    def test_before_it_is_connected_each_call_fails_as_its_port_says(self, new_link: MakeLink) -> None:
        self._all(new_link().server)

    def test_for_a_task_that_nobody_knows_each_call_fails_as_its_port_says(self, link: WorkerLink) -> None:
        self._all(link.server)

    def test_after_a_close_each_call_fails_as_its_port_says(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        link.server.stream.close()
        self._all(link.server, claim.task.id)

    def test_abandon_ends_at_once_and_later_calls_say_so(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        for _ in range(2):
            link.server.abandon()
        calls: list[Callable[[], object]] = [
            lambda: link.server.claims.extend(claim.task.id, claim.token, TTL, ANSWER),
            lambda: link.server.claims.settle(claim.task.id, claim.token, ANSWER),
        ]
        for call in calls:
            try:
                call()
            except Unavailable:
                pass
        link.server.stream.close()

    def _all(self, server: Server, task_id: str = "") -> None:
        """What they raise is judged where they are called."""
        for call in calls_of(server, task_id or str(uuid.uuid4())):
            try:
                call()
            except WorkerError:
                pass
