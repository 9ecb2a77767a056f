"""The Stream port while a connection lasts."""

from __future__ import annotations

import time

import pytest

from adapters.testkit.promises import broken, comes, kept
from adapters.testkit.transport.base import MakeLink, TransportCases
from adapters.testkit.transport.site import Site
from adapters.testkit.transport.worker_link import ROOM, WorkerLink, someone, token
from application.ports import Offer, Stop
from domain.errors import ConnectionLost, TransportError, WorkerError
from domain.task import Action

NO_MESSAGES = (b"\xff\xfe", b"{", b"[]", b'{"action": "run", "tasks": 7}', b'{"action": "run", "tasks": [{"id": 7}]}')


class StreamCases(TransportCases):
    # -- connecting --------------------------------------------------------------------------------------------------

    def test_connecting_makes_the_worker_known(self, link: WorkerLink, site: Site) -> None:
        self.needs("registers")
        known = {(it.id, it.name, it.tasks) for it in site.workers()}
        wanted = (link.identity.id, link.identity.name, link.identity.tasks)
        kept(
            wanted in known,
            "Stream.connect returns when this worker is known, with its name and categories",
            f"the server knows {known or 'nobody'}",
        )

    def test_what_a_worker_announces_is_known(self, link: WorkerLink, site: Site) -> None:
        """It may end the connection, which the link then opens anew."""
        self.needs("registers")
        now = someone(link.identity.name)
        link.identity = type(now)(link.identity.id, link.identity.name, tasks=("command", "script"))
        link.server.stream.announce(link.identity)
        try:
            link.server.stream.receive(ROOM, 0.0)
        except ConnectionLost:
            link.reconnect()

        def wrong() -> str | None:
            known = {it.id: it.tasks for it in site.workers()}
            return None if known.get(link.identity.id) == link.identity.tasks else f"the server knows {known}"

        comes(wrong, "Stream.announce makes known what this worker takes now", self.limit)

    def test_a_login_that_is_not_valid_does_not_connect(self, site: Site, new_link: MakeLink) -> None:
        self.needs("logins")
        stranger = new_link(site.intruder())
        try:
            stranger.connect()
        except WorkerError:
            return
        broken("Stream.connect raises where the login is not valid", "it returned")

    def test_an_unconnected_stream_says_so(self, new_link: MakeLink) -> None:
        link = new_link()
        with pytest.raises(ConnectionLost):
            link.server.stream.receive(ROOM, 0.1)

    # -- offers --------------------------------------------------------------------------------------------------------

    def test_an_offer_has_the_task_as_it_was_planned(self, link: WorkerLink, site: Site) -> None:
        task = link.offer(site.add("echo hi", args='["there"]', category="command", timeout=7)).task
        came = (task.command, task.args, task.category, task.timeout)
        kept(
            came == ("echo hi", '["there"]', "command", 7),
            "an Offer has the task's command, args, category and timeout",
            f"of ('echo hi', '[\"there\"]', 'command', 7) came {came}",
        )

    def test_what_waited_before_the_connection_is_offered(self, site: Site, new_link: MakeLink) -> None:
        wanted = [site.add() for _ in range(3)]
        link = new_link()
        link.connect()
        link.offers(*wanted)

    def test_offers_in_one_go_all_come_in_order(self, link: WorkerLink, site: Site) -> None:
        wanted = [site.add() for _ in range(20)]
        came = [offer.task.id for offer in link.offers(*wanted)]
        kept(
            came == wanted,
            "Stream.receive gives what arrived in order",
            f"of 20 tasks came as number {[wanted.index(it) + 1 for it in came]}",
        )

    def test_no_more_offers_come_than_there_is_room_for(self, link: WorkerLink, site: Site) -> None:
        self.needs("pulls")
        wanted = [site.add() for _ in range(5)]
        for room in (2, 0):
            came = link.server.stream.receive(room, 0.2)
            offers = [event for event in came if isinstance(event, Offer)]
            kept(
                len(offers) <= room,
                "a transport that pulls brings no more offers than there is room for",
                f"for room {room} came {len(offers)}",
            )
            wanted = [it for it in wanted if it not in [offer.task.id for offer in offers]]
        link.offers(*wanted)

    def test_nothing_to_receive_is_an_empty_answer_in_time(self, link: WorkerLink) -> None:
        came = link.server.stream.receive(ROOM, 0.05)
        kept(not came, "Stream.receive is empty after its time-out", f"out of nothing came {came}")

    def test_an_offer_that_is_declined_is_made_again(self, link: WorkerLink, site: Site) -> None:
        offer = link.offer(site.add())
        for _ in range(2):  # idempotent
            link.server.stream.decline(offer, "no slot is free", 0.0)
        link.offer(offer.task.id)

    def test_an_offer_that_is_declined_is_not_made_again_before_its_time(self, link: WorkerLink, site: Site) -> None:
        self.needs("declines")
        offer = link.offer(site.add())
        link.server.stream.decline(offer, "no slot is free", 3600.0)
        came = link.nothing_more()
        kept(not came, "an offer that is declined for an hour does not come before", f"within 0.2 s came {came}")

    # -- stops ---------------------------------------------------------------------------------------------------------

    def test_a_stop_is_told_and_is_not_a_kill(self, link: WorkerLink, site: Site) -> None:
        task_id = link.run().task.id
        site.stop(task_id)
        self._told_as(link.stop_of(task_id), Action.STOP)

    def test_a_kill_is_told_and_is_not_a_stop(self, link: WorkerLink, site: Site) -> None:
        task_id = link.run().task.id
        site.kill(task_id)
        self._told_as(link.stop_of(task_id), Action.KILL)

    def test_a_stop_comes_whatever_the_room(self, link: WorkerLink, site: Site) -> None:
        task_id = link.run().task.id
        site.stop(task_id)
        until = time.monotonic() + self.limit
        while time.monotonic() < until:
            if any(isinstance(event, Stop) for event in link.server.stream.receive(0, 0.2)):
                return
        broken("stops come whatever the room", f"within {self.limit:g} s none came for room 0")

    def _told_as(self, stop: Stop, action: Action) -> None:
        kept(
            stop.action is action,
            "a stop is told as a stop, and a kill as a kill",
            f"what was asked for as {action.value} came as {stop.action.value}",
        )

    # -- trouble -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("data", NO_MESSAGES, ids=lambda data: repr(data[:30]))
    def test_what_is_no_message_is_counted_and_skipped(self, link: WorkerLink, site: Site, data: bytes) -> None:
        self.needs("raw")
        site.inject(data)
        link.offers(site.add())
        counted = site.metrics.snapshot().get("events_invalid", 0)
        kept(counted >= 1, "Stream.receive counts events_invalid for what is no message", f"it counted {counted:g}")

    def test_a_ping_ends_the_silence(self, link: WorkerLink) -> None:
        self.needs("signs_of_life")
        stream = link.server.stream
        comes(
            lambda: None if stream.silence() > 0.05 else f"it stays at {stream.silence()} s",
            "Stream.silence grows while nothing comes",
            self.limit,
        )

        def renewed() -> str | None:
            before = stream.silence()
            stream.ping()
            stream.receive(ROOM, 0.05)
            return None if stream.silence() < before else f"the silence is {stream.silence():.2f} s long"

        comes(renewed, "a ping that is answered ends the silence", self.limit)

    def test_a_ping_without_a_connection_is_harmless_or_says_so(self, new_link: MakeLink) -> None:
        link = new_link()
        try:
            link.server.stream.ping()
        except TransportError:
            pass
        kept(link.server.stream.silence() >= 0, "Stream.silence is a time in seconds", "it was negative")

    def test_a_delivery_has_an_attempt_number(self, link: WorkerLink, site: Site) -> None:
        offer = link.offer(site.add())
        kept(offer.attempt >= 1, "Offer.attempt counts from 1", f"it came as {offer.attempt}")
        link.claim(offer, token())
