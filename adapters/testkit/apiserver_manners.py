"""The API server's own manners (protocol), beside the contract that every transport keeps. Over its model in memory and
over sockets alike; the fixture ``site`` gives an ApiServerSite."""

from __future__ import annotations

import json
import uuid

import pytest

from adapters.testkit.apiserver_site import ApiServerSite
from adapters.testkit.model.faults import DISCARD, GARBAGE, Fault
from adapters.testkit.promises import broken, kept
from adapters.testkit.transport.base import MakeLink, TransportCases
from adapters.testkit.transport.log_cases import KeptLog
from adapters.testkit.transport.worker_link import ANSWER, ROOM, TTL, WorkerLink, ended, someone, token
from adapters.wire.framing import SEPARATOR
from application.ports import Receipt, Report, TaskLogs, Verb
from domain.errors import ConnectionRefused, NotFound, Unavailable, WorkerError
from domain.status import Status

COLUMN = 65_535  # bytes of output that the server's table takes
PIECE = 4096  # bytes that it and its proxies take in one message for sure; it drops the connection above 10240


class ApiServerManners(TransportCases):
    # -- the event stream ----------------------------------------------------------------------------------------------

    def test_a_taken_name_is_refused_though_the_server_says_nothing(
        self, site: ApiServerSite, link: WorkerLink, new_link: MakeLink
    ) -> None:
        other = new_link()
        other.identity = someone(link.identity.name)
        try:
            other.connect()
        except ConnectionRefused:
            return
        broken("Stream.connect raises ConnectionRefused for a name that another worker has", "it returned")

    def test_nothing_is_acknowledged(self, site: ApiServerSite, link: WorkerLink) -> None:
        claim, outcomes = link.run(), link.server.outcomes
        receipts = {
            outcomes.running(claim.task.id, claim.token),
            outcomes.publish(ended(str(uuid.uuid4())), claim.token),
            outcomes.progress(Report(claim.task.id, Verb.PROGRESS, output="{}"), claim.token),
            outcomes.hand_back(Report(claim.task.id, Verb.HANDED_BACK), claim.token),
            outcomes.publish(ended(claim.task.id), claim.token),
        }
        kept(receipts == {Receipt.SENT}, "each receipt is sent, and no more", f"came {receipts}")
        link.barrier()
        came = link.server.stream.receive(ROOM, 0.05)
        kept(not came, "nothing is answered", f"came {came}")

    def test_no_message_is_larger_than_the_server_and_its_proxies_take(
        self, site: ApiServerSite, link: WorkerLink
    ) -> None:
        claim = link.run()
        link.server.outcomes.publish(ended(claim.task.id, output="\u4e2d" * 20_000), claim.token)
        link.sees(claim.task.id, Status.SUCCESS, "a long report goes out in pieces")
        sent = [record.detail for record in site.controls.model.history.of("message")]
        largest = max(it["size"] for it in sent)
        kept(largest <= PIECE, f"no message is larger than {PIECE} bytes", f"one has {largest}")
        kept(all(it["ascii"] for it in sent), "messages are ASCII, so that none is cut in a character", "one is not")

    def test_an_output_beyond_the_column_is_lost_in_silence(self, site: ApiServerSite, link: WorkerLink) -> None:
        """Its end with it: a worker must know of it."""
        claim = link.run()
        link.server.outcomes.publish(ended(claim.task.id, output="x" * (COLUMN + 1)), claim.token)
        link.barrier()
        kept(site.task(claim.task.id).status is Status.RUNNING, "the model loses it as the server does", "it was taken")
        link.server.outcomes.publish(ended(claim.task.id, output="x" * COLUMN), claim.token)
        link.sees(claim.task.id, Status.SUCCESS, "an output as long as the column is taken")

    def test_a_report_that_is_lost_on_the_way_may_be_sent_again(self, site: ApiServerSite, link: WorkerLink) -> None:
        claim = link.run()
        with site.controls.guard:
            site.controls.model.faults.add(Fault(f"update success {claim.task.id}", DISCARD, nth=1))
        for _ in range(2):
            link.server.outcomes.publish(ended(claim.task.id), claim.token)
        link.sees(claim.task.id, Status.SUCCESS, "what was sent and lost may be sent again")

    @pytest.mark.parametrize("text", [SEPARATOR.decode(), f"a\0{SEPARATOR.decode()}b", "\0\0", "\\u0000"])
    def test_a_separator_in_the_output_separates_nothing(
        self, site: ApiServerSite, link: WorkerLink, text: str
    ) -> None:
        claim, output = link.run(), json.dumps(text)
        link.server.outcomes.publish(ended(claim.task.id, output=output), claim.token)
        link.sees(claim.task.id, Status.SUCCESS, "a report with a separator in it arrives")
        held = site.task(claim.task.id).output
        kept(held == output, "an output arrives as it was told", f"of {output!r} came {held!r}")

    def test_half_a_message_before_a_cut_is_forgotten(self, site: ApiServerSite, link: WorkerLink) -> None:
        """The first separator of the next connection must not complete it (G48)."""
        half = str(uuid.uuid4())
        site.push(SEPARATOR + json.dumps({"action": "run", "tasks": [{"id": half}]}).encode())
        came = link.nothing_more(0.1)
        kept(not came, "half a message is none", f"came {came}")
        site.cut()
        link.loses("after the network was cut")
        link.connect()
        ids = [offer.task.id for offer in link.offers(site.add())]
        kept(half not in ids, "half a message before a cut is forgotten", "it was completed on the next connection")

    def test_a_message_may_come_in_any_pieces(self, site: ApiServerSite, link: WorkerLink) -> None:
        task_id = str(uuid.uuid4())
        whole = SEPARATOR + json.dumps({"action": "run", "tasks": [{"id": task_id}]}).encode() + SEPARATOR
        for at in range(0, len(whole), 7):
            site.push(whole[at : at + 7])
        link.offers(task_id)

    def test_a_pending_task_is_offered_again_and_again(self, site: ApiServerSite, link: WorkerLink) -> None:
        """So nothing is to be done for an offer that is declined."""
        offer = link.offer(site.add())
        link.server.stream.decline(offer, "no slot is free", 3600.0)
        site.hurry()
        link.offer(offer.task.id)

    # -- the HTTP side -------------------------------------------------------------------------------------------------

    def test_the_server_makes_the_proof_of_a_claim(self, site: ApiServerSite, link: WorkerLink) -> None:
        offer, proof = link.offer(site.add()), token()
        claim = link.claim(offer, proof)
        holder = site.controls.model.locks.holder(f"task:lock:{offer.task.id}")
        kept(claim.token == holder != proof, "a claim's token is the lock's value", f"{claim.token} is not {holder}")

    def test_after_a_lost_answer_the_task_stays_claimed_until_its_time_is_over(
        self, site: ApiServerSite, link: WorkerLink
    ) -> None:
        offer, proof = link.offer(site.add()), token()
        with site.controls.guard:
            site.controls.model.faults.add(Fault("lock/acquire * task:lock:*", GARBAGE, nth=1))
        with pytest.raises(Unavailable):
            link.server.claims.claim(offer, proof, TTL, ANSWER)
        again = link.server.claims.claim(offer, proof, TTL, ANSWER)
        kept(again is None, "the same token again is nobody's, because the server makes them", f"it gave {again}")

    def test_a_claim_whose_task_cannot_be_read_is_given_back(self, site: ApiServerSite, link: WorkerLink) -> None:
        offer = link.offer(site.add())
        with site.controls.guard:
            site.controls.model.faults.add(Fault(f"task /task/{offer.task.id}/*", status=500, nth=1))
        with pytest.raises(Unavailable):
            link.claim(offer)
        link.claim(offer)

    def test_an_unknown_category_is_not_found(self, link: WorkerLink) -> None:
        with pytest.raises(NotFound):
            link.server.scripts.category("nothing")

    def test_what_is_no_id_is_an_error_of_ours(self, link: WorkerLink) -> None:
        assert link.server.read_back is not None
        with pytest.raises(WorkerError):
            link.server.read_back.fetch("not a uuid")

    def test_a_piece_of_a_log_whose_answer_was_lost_stands_there_once(
        self, site: ApiServerSite, link: WorkerLink
    ) -> None:
        spooled = KeptLog(link.run().task.id)
        spooled.data, spooled.finished = b"one\ntwo\n", True
        with site.controls.guard:
            site.controls.model.faults.add(Fault("tasklog/append *", GARBAGE, nth=1))
        with pytest.raises(Unavailable):
            self._logs(link).append(spooled.piece())
        spooled.deliver(self._logs(link), self.limit + 5.0)  # it waits for what the server may still be about
        held = site.log(spooled.task_id)
        kept(held == spooled.data, "after a lost answer a piece stands there once", f"people read {held!r}")

    def test_what_others_wrote_into_a_log_stays(self, site: ApiServerSite, link: WorkerLink) -> None:
        spooled = KeptLog(link.run().task.id)
        with site.controls.guard:
            site.controls.model.logs[spooled.task_id] = "theirs\n"
            site.controls.model.log_sizes[spooled.task_id] = len("theirs\n")
        spooled.data, spooled.finished = b"ours\n", True
        spooled.deliver(self._logs(link), self.limit)
        held = site.log(spooled.task_id)
        kept(held == b"theirs\nours\n", "what others wrote into a log stays", f"people read {held!r}")

    def _logs(self, link: WorkerLink) -> TaskLogs:
        assert link.server.logs is not None
        return link.server.logs


class ApiServerFlags:
    """What the API server has not, for a subclass of TransportContract that runs over it."""

    pulls = False
    declines = False
    knows_tokens = False
    log_offsets = False
    report_fields: tuple[str, ...] = ("task_id", "verb", "status", "output")
