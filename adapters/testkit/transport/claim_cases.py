"""The Claims port: who may run a task."""

from __future__ import annotations

import uuid

from adapters.testkit.promises import comes, kept
from adapters.testkit.transport.base import TransportCases
from adapters.testkit.transport.site import Site
from adapters.testkit.transport.worker_link import ANSWER, TTL, WorkerLink, token
from application.ports import Offer
from domain.errors import NotFound, Refused
from domain.task import Task


class ClaimCases(TransportCases):
    def test_a_claim_has_the_task_as_it_is_now(self, link: WorkerLink, site: Site) -> None:
        self.needs("editable")
        offer = link.offer(site.add("echo old"))
        site.change(offer.task.id, "echo new")
        command = link.claim(offer).task.command
        kept(
            command == "echo new",
            "a Claim has the task as the server holds it now, and not as it was offered",
            f"of a task edited to 'echo new' came {command!r}",
        )

    def test_a_claim_shows_that_the_task_was_ended_meanwhile(self, link: WorkerLink, site: Site) -> None:
        self.needs("cancelable")
        offer = link.offer(site.add())
        site.cancel(offer.task.id)
        claim = link.server.claims.claim(offer, token(), TTL, ANSWER)
        kept(
            claim is None or claim.task.ended or claim.task.status.is_final,
            "a Claim of a task that was canceled shows that it has ended, or is None",
            f"it came as {claim.task.status if claim else None}",
        )

    def test_a_task_has_one_owner(self, link: WorkerLink, site: Site) -> None:
        offer = link.offer(site.add())
        link.claim(offer)
        other = link.server.claims.claim(offer, token(), TTL, ANSWER)
        kept(other is None, "Claims.claim gives None where somebody else has the task", "it gave it a second time")

    def test_the_same_token_again_is_the_same_claim(self, link: WorkerLink, site: Site) -> None:
        """As after a lost answer."""
        self.needs("knows_tokens")
        offer, proof = link.offer(site.add()), token()
        first, second = (link.server.claims.claim(offer, proof, TTL, ANSWER) for _ in range(2))
        kept(
            first is not None and second is not None and first.token == second.token,
            "the same token again is the same claim",
            f"first came {first}, then {second}",
        )

    def test_a_task_that_nobody_knows_is_not_given(self, link: WorkerLink) -> None:
        nobody = Offer(Task(str(uuid.uuid4()), "command"), delivery="1")
        try:
            claim = link.server.claims.claim(nobody, token(), TTL, ANSWER)
        except (NotFound, Refused):
            return
        kept(claim is None, "Claims.claim raises NotFound for a task that the server does not know", f"it gave {claim}")

    # -- how long it lasts ---------------------------------------------------------------------------------------------

    def test_only_its_owner_extends_a_claim(self, link: WorkerLink, site: Site) -> None:
        claim = link.claim(link.offer(site.add()))
        ours = link.server.claims.extend(claim.task.id, claim.token, TTL, ANSWER)
        kept(ours, "Claims.extend is True for who holds the claim", "it was False")
        theirs = link.server.claims.extend(claim.task.id, token(), TTL, ANSWER)
        kept(not theirs, "Claims.extend is False for a token that holds no claim", "it was True")

    def test_a_claim_that_is_not_extended_expires(self, link: WorkerLink, site: Site) -> None:
        offer = link.offer(site.add())
        first = link.claim(offer, ttl=1.0)
        if not first.expires:
            return
        proof = token()

        def wrong() -> str | None:
            claim = link.server.claims.claim(offer, proof, TTL, ANSWER)
            return None if claim is not None else "a claim for 1 s was still held"

        comes(wrong, "a claim ends by itself unless it is extended", self.limit + 1.0)
        late = link.server.claims.extend(offer.task.id, first.token, TTL, ANSWER)
        kept(not late, "Claims.extend is False where the task is somebody else's meanwhile", "it was True")

    def test_a_claim_that_is_extended_does_not_expire(self, link: WorkerLink, site: Site) -> None:
        offer = link.offer(site.add())
        claim = link.claim(offer, ttl=2.0)
        link.server.claims.extend(offer.task.id, claim.token, 60.0, ANSWER)
        clock = link.offer(site.add())
        later = link.claim(clock, ttl=2.0)  # expires after the first one would have

        def wrong() -> str | None:
            if not later.expires:
                return None
            return None if link.server.claims.claim(clock, token(), TTL, ANSWER) else "the other still held"

        comes(wrong, "a claim ends by itself unless it is extended", self.limit + 2.0)
        other = link.server.claims.claim(offer, token(), TTL, ANSWER)
        kept(other is None, "Claims.extend holds the task for the time that was asked for", "it could be claimed")

    # -- giving it up --------------------------------------------------------------------------------------------------

    def test_what_is_settled_is_free_and_may_be_settled_twice(self, link: WorkerLink, site: Site) -> None:
        offer = link.offer(site.add())
        claim = link.claim(offer)
        first = link.server.claims.settle(offer.task.id, claim.token, ANSWER)
        kept(first, "Claims.settle is True for who holds the claim", "it was False")
        link.server.claims.settle(offer.task.id, claim.token, ANSWER)
        extended = link.server.claims.extend(offer.task.id, claim.token, TTL, ANSWER)
        kept(not extended, "Claims.extend is False once the claim was given up", "it was True")
        link.claim(offer)

    def test_a_foreign_settle_frees_nothing(self, link: WorkerLink, site: Site) -> None:
        offer = link.offer(site.add())
        claim = link.claim(offer)
        freed = link.server.claims.settle(offer.task.id, token(), ANSWER)
        kept(not freed, "Claims.settle is False for a token that holds no claim", "it was True")
        still = link.server.claims.extend(offer.task.id, claim.token, TTL, ANSWER)
        kept(still, "a foreign settle frees nothing", "the claim was gone")

    def test_the_token_proves_the_claim_in_another_process_too(self, link: WorkerLink, site: Site) -> None:
        """It is journalled: what a worker claimed, its next run settles."""
        offer = link.offer(site.add())
        claim = link.claim(offer)
        next_run = WorkerLink(site, site.open(), self.limit, link.identity)
        try:
            settled = next_run.server.claims.settle(offer.task.id, claim.token, ANSWER)
        finally:
            next_run.end()
        kept(settled, "a claim's token proves it in another process too", "settling it there was False")
