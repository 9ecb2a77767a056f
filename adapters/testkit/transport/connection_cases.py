"""The Stream port at the end of a connection, and over to the next one."""

from __future__ import annotations

import threading

from adapters.testkit.promises import broken, kept
from adapters.testkit.transport.base import TransportCases
from adapters.testkit.transport.site import Site
from adapters.testkit.transport.worker_link import ROOM, WorkerLink, ended
from application.ports import Offer
from domain.errors import ConnectionLost


class ConnectionCases(TransportCases):
    def test_close_returns_at_once_and_wakes_a_blocked_receive(self, link: WorkerLink) -> None:
        """Each on a thread of its own: ``receive`` would wait for much longer than ``close`` may take."""
        begun, woken, over = threading.Event(), threading.Event(), threading.Event()

        def receive() -> None:
            begun.set()
            try:
                while not over.is_set():
                    link.opened.stream.receive(ROOM, 4 * self.limit)
            except ConnectionLost:
                pass
            woken.set()

        receiving = threading.Thread(target=receive, daemon=True, name="contract-receive")
        receiving.start()
        begun.wait(self.limit)
        threading.Event().wait(0.1)  # until it is inside; earlier would be right too
        try:
            link.server.stream.close()
            if not woken.wait(self.limit):
                broken("Stream.close wakes a blocked receive", f"after {self.limit:g} s it was still blocked")
        finally:
            over.set()
        receiving.join(self.limit)

    def test_close_may_be_repeated(self, link: WorkerLink) -> None:
        link.server.stream.close()
        link.server.stream.close()

    def test_a_closed_stream_says_so(self, link: WorkerLink) -> None:
        link.server.stream.close()
        link.loses("after a close")

    def test_after_a_close_it_connects_again(self, link: WorkerLink, site: Site) -> None:
        link.reconnect()
        link.offers(site.add())

    def test_a_connection_that_is_cut_is_told(self, link: WorkerLink, site: Site) -> None:
        self.needs("network")
        site.cut()
        link.loses("after the network was cut")

    def test_telling_something_on_a_connection_that_is_cut_fails_in_the_end(self, link: WorkerLink, site: Site) -> None:
        self.needs("network")
        claim = link.run()
        site.cut()
        for _ in range(200):
            try:
                link.server.outcomes.running(claim.task.id, claim.token)
            except ConnectionLost:
                return
            threading.Event().wait(self.limit / 200)
        broken("Outcomes.running raises ConnectionLost once the connection is gone", "it never noticed")

    # -- over to the next one ------------------------------------------------------------------------------------------

    def test_what_was_offered_and_not_claimed_is_offered_on_the_next_connection(
        self, link: WorkerLink, site: Site
    ) -> None:
        wanted = [site.add() for _ in range(3)]
        link.offers(*wanted)
        self._end(link, site)
        link.reconnect()
        link.offers(*wanted)

    def test_what_waited_unread_is_offered_on_the_next_connection(self, link: WorkerLink, site: Site) -> None:
        wanted = [site.add() for _ in range(3)]
        self._end(link, site)
        link.reconnect()
        link.offers(*wanted)

    def test_nothing_of_the_old_connection_is_seen_on_the_new_one(self, link: WorkerLink, site: Site) -> None:
        """Of tasks that were canceled in between, only the old connection can have told."""
        self.needs("cancelable")
        gone = [site.add() for _ in range(4)]
        link.server.stream.receive(1, self.limit)  # the others may be in a buffer now
        for task_id in gone:
            site.cancel(task_id)
        self._end(link, site)
        link.reconnect()
        last = site.add()
        came = {offer.task.id for offer in link.offers(last)} | {
            event.task.id for event in link.nothing_more() if isinstance(event, Offer)
        }
        old = came & set(gone)
        kept(
            not old,
            "nothing that a former connection received is seen on the new one",
            f"{len(old)} offers of tasks came that were canceled before it",
        )

    def test_an_end_may_be_told_on_the_next_connection(self, link: WorkerLink, site: Site) -> None:
        claim = link.run()
        self._end(link, site)
        link.reconnect()
        report = ended(claim.task.id)
        assert report.status is not None
        link.server.outcomes.publish(report, claim.token)
        link.sees(claim.task.id, report.status, "what ran on one connection may end on the next")

    def _end(self, link: WorkerLink, site: Site) -> None:
        """The connection ends: by the network where there is one."""
        if self.network:
            site.cut()
            link.loses("after the network was cut")
        else:
            link.server.stream.close()
