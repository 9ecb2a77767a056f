"""The Outcomes port: what a server is told of a task."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.testkit.promises import comes, kept
from adapters.testkit.transport.base import MakeLink, TransportCases
from adapters.testkit.transport.site import Held, Site
from adapters.testkit.transport.worker_link import ANSWER, WorkerLink, ended, someone, token
from application.ports import Offer, Receipt, Report, Verb
from domain.result import EndReason
from domain.status import Status

SENDERS = 8


class OutcomeCases(TransportCases):
    def test_running_names_the_worker(self, link: WorkerLink, site: Site) -> None:
        held = site.task(link.run().task.id)
        kept(
            held.worker_id == link.identity.id,
            "Outcomes.running makes it known which worker runs the task",
            f"the server shows {held.worker_id or 'nobody'} and not {link.identity.id}",
        )

    def test_every_field_of_a_report_arrives(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        report = Report(
            claim.task.id, Verb.ENDED, Status.FAILED, EndReason.EXIT_CODE, '{"exit_code":3,"text":"caf\u00e9 \u4e2d"}',
            "what a person reads", "exit status 3", 1234, 3,
            "2026-11-24T02:59:59.000+01:00", "2026-11-24T03:00:00.234+01:00",
        )  # fmt: skip
        link.server.outcomes.publish(report, claim.token)
        link.sees(claim.task.id, Status.FAILED, "Outcomes.publish makes the end known")
        told = site.task(claim.task.id).report
        lost = [
            f"{name} as {getattr(told, name, None)!r}"
            for name in self.report_fields
            if getattr(told, name, None) != getattr(report, name)
        ]
        kept(not lost, "every field of a Report arrives as it was told", f"the server holds {', '.join(lost)}")

    def test_a_receipt_says_what_is_true(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        for receipt in (
            link.server.outcomes.running(claim.task.id, claim.token),
            link.server.outcomes.publish(ended(claim.task.id), claim.token),
            link.server.outcomes.publish(ended(claim.task.id), claim.token),  # as after a lost answer
        ):
            self._fits(link, receipt, Receipt.CONFIRMED)
        link.sees(claim.task.id, Status.SUCCESS, "Outcomes.publish makes the end known")

    def test_the_first_end_stays(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        link.server.outcomes.publish(ended(claim.task.id, Status.FAILED, '"first"'), claim.token)
        link.sees(claim.task.id, Status.FAILED, "Outcomes.publish makes the end known")
        receipt = link.server.outcomes.publish(ended(claim.task.id, Status.SUCCESS, '"second"'), claim.token)
        self._fits(link, receipt, Receipt.SUPERSEDED)
        self._fits(link, link.server.outcomes.running(claim.task.id, claim.token), Receipt.SUPERSEDED)
        link.barrier()
        held = site.task(claim.task.id)
        kept(
            (held.status, held.output) == (Status.FAILED, '"first"'),
            "the first end that the server holds stays",
            f"after another one it shows {held.status} {held.output}",
        )

    def test_what_is_told_of_a_task_that_nobody_knows_harms_nothing(self, link: WorkerLink) -> None:
        """The core would tell it for ever where it is neither confirmed nor superseded nor found missing."""
        receipt = link.server.outcomes.publish(ended(str(uuid.uuid4())), token())
        self._fits(link, receipt, Receipt.SUPERSEDED)
        link.barrier()

    def test_progress_is_kept_and_ends_nothing(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        report = Report(claim.task.id, Verb.PROGRESS, output='{"approval":"1"}')
        for _ in range(2):
            self._fits(link, link.server.outcomes.progress(report, claim.token), Receipt.CONFIRMED)
        if self.progress:
            comes(
                lambda: None if (now := site.task(claim.task.id)).output == report.output else f"it shows {now.output}",
                "Outcomes.progress makes the output so far known",
                self.limit,
            )
        link.barrier()
        now = site.task(claim.task.id).status
        kept(now is Status.RUNNING, "Outcomes.progress ends nothing", f"the server shows the task {now}")

    def test_what_is_handed_back_is_offered_again(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        receipt = link.server.outcomes.hand_back(Report(claim.task.id, Verb.HANDED_BACK), claim.token)
        self._fits(link, receipt, Receipt.CONFIRMED)
        link.sees(claim.task.id, Status.PENDING, "Outcomes.hand_back makes a task wait again")
        link.server.claims.settle(claim.task.id, claim.token, ANSWER)
        link.claim(link.offer(claim.task.id))

    def test_a_task_may_end_without_having_run(self, link: WorkerLink, site: Site) -> None:
        claim = link.claim(link.offer(site.add()))
        report = replace(ended(claim.task.id, Status.STOPPED), end_reason=EndReason.STOPPED)
        link.server.outcomes.publish(report, claim.token)
        link.sees(claim.task.id, Status.STOPPED, "a task may end without having run")

    # -- any text, any thread ------------------------------------------------------------------------------------------

    def test_a_long_output_arrives_whole(self, link: WorkerLink, site: Site) -> None:
        self._arrives(link, site, "0123456789" * 6000)

    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
    def test_any_text_arrives(self, link: WorkerLink, site: Site, text: str) -> None:
        self._arrives(link, site, text)

    def test_eight_senders_at_once_lose_and_mix_nothing(self, link: WorkerLink, site: Site) -> None:
        claims = [link.run() for _ in range(SENDERS)]
        together, errors = threading.Barrier(SENDERS), []

        def tell(number: int) -> None:
            together.wait(self.limit)
            claim = claims[number]
            try:
                link.opened.outcomes.publish(ended(claim.task.id, output=f"{number}" * 20_000), claim.token)
            except BaseException as error:  # noqa: BLE001 - told by the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=tell, args=(number,), daemon=True) for number in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.limit)
        promise = f"Outcomes.publish may be called by {SENDERS} threads at once"
        kept(not errors, promise, f"it raised {errors}")
        for number, claim in enumerate(claims):
            link.sees(claim.task.id, Status.SUCCESS, promise)
            held = site.task(claim.task.id).output
            kept(held == f"{number}" * 20_000, promise, f"of {number}{number}... came {held[:20]}... ({len(held)})")

    # -- several workers -----------------------------------------------------------------------------------------------

    def test_another_worker_does_not_take_over_what_runs(
        self, link: WorkerLink, site: Site, new_link: MakeLink
    ) -> None:
        self.needs("several_workers")
        claim = link.run()
        second = new_link()
        second.identity = someone("w2")
        second.connect()
        taken = second.server.claims.claim(Offer(claim.task), token(), 1.0, ANSWER)
        kept(taken is None, "Claims.claim gives None where another worker has the task", "it gave it a second time")
        if self.read_back:
            return
        self._fits(second, second.server.outcomes.running(claim.task.id, token()), Receipt.SUPERSEDED)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _fits(self, link: WorkerLink, receipt: Receipt, wanted: Receipt) -> None:
        allowed = (wanted, Receipt.SENT) if link.opened.read_back is not None else (wanted,)
        promise = f"a receipt is {' or '.join(allowed)} here"
        if receipt is Receipt.SENT:
            promise += "; without read-back nothing may be left open as sent"
        kept(receipt in allowed, promise, f"it came as {receipt}")

    def _arrives(self, link: WorkerLink, site: Site, output: str) -> None:
        claim = link.run()
        link.server.outcomes.publish(ended(claim.task.id, output=output), claim.token)
        link.sees(claim.task.id, Status.SUCCESS, "Outcomes.publish makes the end known")
        held: Held = site.task(claim.task.id)
        kept(held.output == output, "an output arrives as it was told", f"of {output[:80]!r} came {held.output[:80]!r}")
