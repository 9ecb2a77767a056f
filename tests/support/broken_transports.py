"""Transports that break one promise each: what the contract suite has to catch, and what it says then."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.memory.server import NEVER, MemoryServer
from application.ports import Claim, Identity, LogPiece, Offer, Receipt, Report, Stop, Taken
from domain.errors import ConnectionLost
from domain.status import Status
from domain.task import Action

LIMIT = 1.0  # seconds that the suite gives them for each call
Events = Sequence[Offer | Stop]


class DropsOnReconnect(MemoryServer):
    """What was offered on a connection that is gone is never offered again."""

    def connect(self, identity: Identity) -> None:
        offered = [row for row in self._rows.values() if row.offers]
        super().connect(identity)
        for row in offered:
            row.offer_at = NEVER


class LeaksTheOldConnection(MemoryServer):
    """It takes all there is, hands out what there is room for, and keeps the rest over a reconnect."""

    def receive(self, room: int, timeout: float) -> Events:
        self._kept: list[Offer | Stop] = [*getattr(self, "_kept", ()), *super().receive(100, timeout)]
        events, self._kept = self._kept[:room], self._kept[room:]
        return events


class Reorders(MemoryServer):
    def receive(self, room: int, timeout: float) -> Events:
        return list(reversed(super().receive(room, timeout)))


class LosesHalfABatch(MemoryServer):
    def receive(self, room: int, timeout: float) -> Events:
        events = super().receive(room, timeout)
        return events[: (len(events) + 1) // 2]


class BlocksInClose(MemoryServer):
    """As one that says goodbye to a peer that does not answer."""

    def close(self) -> None:
        super().close()
        threading.Event().wait(1.5)


class CloseWaitsForReceive(MemoryServer):
    _busy = threading.Lock()

    def receive(self, room: int, timeout: float) -> Events:
        with self._busy:
            return super().receive(room, timeout)

    def close(self) -> None:
        with self._busy:
            super().close()


class NeverAcknowledges(MemoryServer):
    """And offers no way to read a task back."""

    def publish(self, report: Report, token: str) -> Receipt:
        super().publish(report, token)
        return Receipt.SENT


class LosesHandBack(MemoryServer):
    def hand_back(self, report: Report, token: str) -> Receipt:
        return Receipt.CONFIRMED


class IgnoresStop(MemoryServer):
    def receive(self, room: int, timeout: float) -> Events:
        return [event for event in super().receive(room, timeout) if isinstance(event, Offer)]


class KillsForStop(MemoryServer):
    def receive(self, room: int, timeout: float) -> Events:
        events = super().receive(room, timeout)
        return [replace(event, action=Action.KILL) if isinstance(event, Stop) else event for event in events]


class LosesReportFields(MemoryServer):
    def publish(self, report: Report, token: str) -> Receipt:
        return super().publish(replace(report, end_reason=None, started_at="", ended_at=report.ended_at[:19]), token)


class RaisesForeignExceptions(MemoryServer):
    def ping(self) -> None:
        try:
            super().ping()
        except ConnectionLost as error:
            raise BrokenPipeError(32, "Broken pipe") from error


class IgnoresRoom(MemoryServer):
    def receive(self, room: int, timeout: float) -> Events:
        return super().receive(100, timeout)


class ForgetsWhatIsDeclined(MemoryServer):
    def decline(self, offer: Offer, why: str, after: float) -> None:
        """Nothing."""


class OffersAtOnceWhatIsDeclined(MemoryServer):
    def decline(self, offer: Offer, why: str, after: float) -> None:
        super().decline(offer, why, 0.0)


class ClaimsForEverybody(MemoryServer):
    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        with self._guard:
            self._rows[offer.task.id].token = ""
        return super().claim(offer, token, ttl, timeout)


class ClaimsStaleTasks(MemoryServer):
    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        claim = super().claim(offer, token, ttl, timeout)
        return replace(claim, task=offer.task) if claim is not None else None


class ClaimsForEver(MemoryServer):
    def claim(self, offer: Offer, token: str, ttl: float, timeout: float) -> Claim | None:
        return super().claim(offer, token, 1e9, timeout)


class SettlesForAnybody(MemoryServer):
    def settle(self, task_id: str, token: str, timeout: float) -> bool:
        return super().settle(task_id, self._rows[task_id].token, timeout)


class LastEndWins(MemoryServer):
    def publish(self, report: Report, token: str) -> Receipt:
        self.change(report.task_id, status=Status.RUNNING.value)
        return super().publish(report, token)


class EndsForProgress(MemoryServer):
    def progress(self, report: Report, token: str) -> Receipt:
        super().publish(replace(report, status=Status.SUCCESS), token)
        return Receipt.CONFIRMED


class AppendsTwice(MemoryServer):
    def append(self, piece: LogPiece) -> Taken:
        with self._guard:
            self._rows[piece.task_id].log += piece.data
        return Taken(piece.end)


class MixesSenders(MemoryServer):
    """One buffer for all."""

    def publish(self, report: Report, token: str) -> Receipt:
        self._last = report
        threading.Event().wait(0.01)
        return super().publish(replace(self._last, task_id=report.task_id), token)


@dataclass(frozen=True, slots=True)
class Broken:
    """``test`` of the suite catches ``server``, with the sentence ``says`` (a regular expression)."""

    server: type[MemoryServer]
    test: str
    says: str


ALL = (
    Broken(
        DropsOnReconnect,
        "test_what_was_offered_and_not_claimed_is_offered_on_the_next_connection",
        r"Stream.receive offers each task that waits; but within 1 s 3 of 3 never came: ",
    ),
    Broken(
        LeaksTheOldConnection,
        "test_nothing_of_the_old_connection_is_seen_on_the_new_one",
        "nothing that a former connection received is seen on the new one; but 3 offers of tasks came that were "
        "canceled before it",
    ),
    Broken(
        Reorders,
        "test_offers_in_one_go_all_come_in_order",
        r"Stream.receive gives what arrived in order; but of 20 tasks came as number \[20, 19, 18,",
    ),
    Broken(
        LosesHalfABatch,
        "test_offers_in_one_go_all_come_in_order",
        "Stream.receive offers each task that waits; but within 1 s 10 of 20 never came: ",
    ),
    Broken(
        BlocksInClose,
        "test_close_may_be_repeated",
        "Stream.close returns within 1 s; but it did not",
    ),
    Broken(
        CloseWaitsForReceive,
        "test_close_returns_at_once_and_wakes_a_blocked_receive",
        "Stream.close returns within 1 s; but it did not",
    ),
    Broken(
        NeverAcknowledges,
        "test_a_receipt_says_what_is_true",
        "a receipt is confirmed here; without read-back nothing may be left open as sent; but it came as sent",
    ),
    Broken(
        LosesHandBack,
        "test_what_is_handed_back_is_offered_again",
        "Outcomes.hand_back makes a task wait again; but after 1 s the server shows it running",
    ),
    Broken(
        IgnoresStop,
        "test_a_stop_is_told_and_is_not_a_kill",
        "Stream.receive tells the stop of a task that runs here; but within 1 s 1 of 1 never came: ",
    ),
    Broken(
        KillsForStop,
        "test_a_stop_is_told_and_is_not_a_kill",
        "a stop is told as a stop, and a kill as a kill; but what was asked for as stop came as kill",
    ),
    Broken(
        LosesReportFields,
        "test_every_field_of_a_report_arrives",
        "every field of a Report arrives as it was told; but the server holds end_reason as None, started_at as '', "
        "ended_at as '2026-11-24T03:00:00'",
    ),
    Broken(
        RaisesForeignExceptions,
        "test_before_it_is_connected_each_call_fails_as_its_port_says",
        r"Stream.ping raises ConnectionLost; but it raised BrokenPipeError\(32, 'Broken pipe'\)",
    ),
    Broken(
        IgnoresRoom,
        "test_no_more_offers_come_than_there_is_room_for",
        "a transport that pulls brings no more offers than there is room for; but for room 2 came 5",
    ),
    Broken(
        ForgetsWhatIsDeclined,
        "test_an_offer_that_is_declined_is_made_again",
        "Stream.receive offers each task that waits; but within 1 s 1 of 1 never came: ",
    ),
    Broken(
        OffersAtOnceWhatIsDeclined,
        "test_an_offer_that_is_declined_is_not_made_again_before_its_time",
        "an offer that is declined for an hour does not come before; but within 0.2 s came ",
    ),
    Broken(
        ClaimsForEverybody,
        "test_a_task_has_one_owner",
        "Claims.claim gives None where somebody else has the task; but it gave it a second time",
    ),
    Broken(
        ClaimsStaleTasks,
        "test_a_claim_has_the_task_as_it_is_now",
        "a Claim has the task as the server holds it now, and not as it was offered; but of a task edited to "
        "'echo new' came 'echo old'",
    ),
    Broken(
        ClaimsForEver,
        "test_a_claim_that_is_not_extended_expires",
        "a claim ends by itself unless it is extended; but after 2 s a claim for 1 s was still held",
    ),
    Broken(
        SettlesForAnybody,
        "test_a_foreign_settle_frees_nothing",
        "Claims.settle is False for a token that holds no claim; but it was True",
    ),
    Broken(
        LastEndWins,
        "test_the_first_end_stays",
        "a receipt is superseded here; but it came as confirmed",
    ),
    Broken(
        EndsForProgress,
        "test_progress_is_kept_and_ends_nothing",
        "Outcomes.progress ends nothing; but the server shows the task success",
    ),
    Broken(
        AppendsTwice,
        "test_a_piece_that_comes_again_stands_there_once",
        "a piece that comes again stands there once, and takes nothing away; but of ",
    ),
    Broken(
        MixesSenders,
        "test_eight_senders_at_once_lose_and_mix_nothing",
        r"Outcomes.publish may be called by 8 threads at once; but of \d+... came ",
    ),
)
