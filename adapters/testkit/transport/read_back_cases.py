"""The ReadBack port: how the server shows tasks."""

from __future__ import annotations

import uuid

from adapters.testkit.promises import broken, kept
from adapters.testkit.transport.base import MakeLink, TransportCases
from adapters.testkit.transport.site import Site
from adapters.testkit.transport.worker_link import WorkerLink, ended, someone
from application.ports import ReadBack
from domain.errors import NotFound, WorkerError
from domain.status import Status


class ReadBackCases(TransportCases):
    def test_what_was_told_is_read_back(self, link: WorkerLink) -> None:
        reader = self._reader(link)
        claim = link.run()
        link.server.outcomes.publish(ended(claim.task.id, output='{"exit_code": 0}'), claim.token)
        link.sees(claim.task.id, Status.SUCCESS, "Outcomes.publish makes the end known")
        task = reader.fetch(claim.task.id)
        came = (task.status, task.output, task.ended, task.worker_id)
        kept(
            came == (Status.SUCCESS, '{"exit_code": 0}', True, link.identity.id),
            "ReadBack.fetch shows a task's status, output, end and worker as the server holds them",
            f"it shows {came}",
        )

    def test_a_task_that_nobody_knows_is_not_found(self, link: WorkerLink) -> None:
        reader = self._reader(link)
        try:
            task = reader.fetch(str(uuid.uuid4()))
        except NotFound:
            return
        except WorkerError as error:
            broken("ReadBack.fetch raises NotFound for a task that the server does not know", f"it raised {error!r}")
        broken("ReadBack.fetch raises NotFound for a task that the server does not know", f"it gave {task}")

    def test_the_list_of_a_worker_has_its_tasks_and_no_others(
        self, link: WorkerLink, site: Site, new_link: MakeLink
    ) -> None:
        reader = self._reader(link)
        site.add()
        wanted = {link.run().task.id for _ in range(3)}
        others: set[str] = set()
        stranger = someone("w2").id
        if self.several_workers:
            second = new_link()
            second.identity = someone("w2")
            second.connect()
            stranger, others = second.identity.id, {second.run().task.id}
        for who, tasks in ((link.identity.id, wanted), (stranger, others)):
            listed = {task.id for task in reader.of_worker(who, Status.RUNNING, 100)}
            kept(
                listed == tasks,
                "ReadBack.of_worker lists what this worker runs, and nothing of another's",
                f"{len(listed - tasks)} of others were listed and {len(tasks - listed)} missing",
            )
        few = reader.of_worker(link.identity.id, Status.RUNNING, 2)
        kept(len(few) == 2, "ReadBack.of_worker lists up to as many as were asked for", f"of 3 for 2 came {len(few)}")

    def _reader(self, link: WorkerLink) -> ReadBack:
        self.needs("read_back")
        if link.server.read_back is None:
            broken("a transport with the flag read_back has the part read_back", "it is None")
        return link.server.read_back
