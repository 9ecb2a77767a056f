"""The connection supervisor over a transport that fails in every order, in virtual time (G45..G48)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adapters.guardian.unguarded import NoWatchdog
from adapters.observability.metrics import MemoryMetrics
from adapters.process.orphans import NoOrphans
from adapters.testkit.simulation import SimNode, Simulation
from application.link import Link, Listener
from application.ports import Host, Identity, LinkTimes, Offer, Stop
from domain.errors import ConnectionLost, ConnectionRefused, Unavailable
from domain.task import Task

IDENTITY = Identity("id", "w")
TIMES = LinkTimes(ping_interval=10.0, pong_timeout=10.0, reconnect_cap=8.0)
FOUND = TIMES.ping_interval + TIMES.pong_timeout + 2.0
CONNECT_TIME = 20.0  # seconds: the longest that one try may take
WISH = 15.0  # seconds that a refusing server asks for
EVENT = Offer(Task("t", "fake"))


class Line:
    """The Stream port. Each method yields, so that another thread may come between any two calls."""

    def __init__(self, node: SimNode) -> None:
        self._node = node
        self.connect_fault = ""
        self.deaf = False  # half open: sends go nowhere, nothing comes
        self.send_fails = False
        self.arriving: list[tuple[int, Offer | Stop]] = []
        self.number = 0  # of the connection
        self.open = False
        self.reset = False
        self.last_sign = 0.0
        self.deaf_since: float | None = None
        self.connecting = False
        self.tries: list[float] = []
        self.broken: list[str] = []

    def connect(self, identity: Identity) -> None:
        if self.open or self.connecting:
            self.broken.append("G48 a second connection was opened beside the first")
        self.connecting = True
        self.tries.append(self._node.now())
        fault = self.connect_fault
        try:
            self._node.sleep(CONNECT_TIME if fault == "silence" else 0.05)
            if fault in ("silence", "lost"):
                raise ConnectionLost(fault)
            if fault == "refused":
                raise ConnectionRefused("no")
            if fault == "wish":
                raise ConnectionRefused("later", WISH)
            if fault == "unavailable":
                raise Unavailable("503", WISH)
        finally:
            self.connecting = False
        self.number += 1
        self.open, self.reset, self.arriving = True, False, []
        self.last_sign = self._node.now()
        self.deaf_since = self._node.now() if self.deaf else None

    def receive(self, room: int, timeout: float) -> Sequence[Offer | Stop]:
        end = self._node.now() + timeout
        while self._node.now() < end:
            self._live()
            if self.arriving and not self.deaf:
                self.last_sign = self._node.now()
                found, self.arriving = self.arriving, []
                if any(number != self.number for number, _ in found):
                    self.broken.append("G48 an event of a former connection was received")
                return [event for _, event in found]
            self._node.sleep(0.1)
        return []

    def decline(self, offer: Offer, why: str, after: float) -> None: ...

    def announce(self, identity: Identity) -> None: ...

    def ping(self) -> None:
        self._node.sleep(0.0)
        self._live()
        if self.send_fails:
            raise ConnectionLost("the ping could not be sent")
        if not self.deaf:
            self.last_sign = self._node.now()

    def silence(self) -> float:
        self._node.sleep(0.0)
        return self._node.now() - self.last_sign

    def close(self) -> None:
        self._node.sleep(0.0)
        self.open = False

    def _live(self) -> None:
        if self.reset:
            self.open = False
        if not self.open:
            raise ConnectionLost("closed")


class LinkMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation(1)
        self.node = self.world.node("worker")
        self.line = Line(self.node)
        host = Host(self.node, MemoryMetrics(), NoOrphans(), NoWatchdog())
        self.link = Link(host, self.line, TIMES, lambda: IDENTITY)
        self.ups: list[int] = []
        self.received: list[tuple[int, Offer | Stop]] = []
        self.sent = 0
        self.unwell = 0.0  # seconds: when something was wrong last
        self.closing = False
        listener = Listener(lambda: 1, self.handle, self.on_up)
        self.loops = [
            self.node.start("link", lambda: self.link.run(lambda: self.closing, listener)),
            self.node.start("heartbeat", lambda: self.link.heartbeat(lambda: self.closing)),
        ]
        self.pass_time(1.0)

    def handle(self, event: Offer | Stop) -> None:
        self.received.append((self.line.number, event))

    def on_up(self) -> None:
        assert self.link.up.is_set()
        self.ups.append(self.line.number)

    def pass_time(self, seconds: float) -> None:
        end = self.world.time + seconds
        while self.world.time < end:
            self.world.run(lambda: False, min(0.5, end - self.world.time))
            self.check()

    @initialize(seed=st.integers(0, 1 << 16))
    def interleaving(self, seed: int) -> None:
        self.world.random.seed(seed)

    # -- faults --------------------------------------------------------------------------------------------------------

    @rule(fault=st.sampled_from(["", "", "lost", "refused", "wish", "unavailable", "silence"]))
    def connecting_fails(self, fault: str) -> None:
        self.line.connect_fault = fault

    @rule(deaf=st.booleans())
    def the_line_is_half_open(self, deaf: bool) -> None:
        self.line.deaf = deaf
        self.line.deaf_since = self.node.now() if deaf else None

    @rule(fails=st.booleans())
    def pings_fail(self, fails: bool) -> None:
        self.line.send_fails = fails

    @rule()
    def the_connection_is_reset(self) -> None:
        self.line.reset = True

    @rule(seconds=st.sampled_from([1.0, 15.0, 90.0]))
    def freeze(self, seconds: float) -> None:
        self.node.freeze(seconds)
        self.world.run(lambda: False, seconds)
        if self.line.deaf_since is not None:
            self.line.deaf_since = self.node.now() - min(self.node.now() - self.line.deaf_since, FOUND - 1.5)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule()
    def an_event_comes(self) -> None:
        if self.line.open and not self.line.reset:
            self.line.arriving.append((self.line.number, EVENT))
            self.sent += 1

    # -- what holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        line = self.line
        assert not line.broken, line.broken
        assert len(self.ups) == len(set(self.ups)), "a connection was announced twice"
        assert self.ups == sorted(self.ups)
        assert len(self.received) <= self.sent
        assert all(loop.is_alive() for loop in self.loops), "a loop ended (G47)"
        if line.open and line.deaf_since is not None and not line.reset:
            assert self.node.now() - line.deaf_since <= FOUND + 0.5, "G45 a half-open link was not found"

    def teardown(self) -> None:
        """After the last fault it is connected within the cap, and stays so (G47)."""
        self.line.connect_fault, self.line.deaf, self.line.send_fails = "", False, False
        self.line.deaf_since = None
        try:
            self.pass_time(max(TIMES.reconnect_cap, WISH) + CONNECT_TIME + 2.0)
            assert self.line.open, "G47 it is not connected again"
            assert not self.line.reset
            assert self.link.up.is_set()
            number, before = self.line.number, len(self.received)
            self.an_event_comes()
            self.pass_time(300.0)
            assert self.line.number == number, "a healthy connection was given up"
            assert len(self.received) == before + 1
            self.closing = True
            self.link.close()
            self.world.run(lambda: not any(loop.is_alive() for loop in self.loops), 2.0)
            assert not any(loop.is_alive() for loop in self.loops), "a loop does not end"
        finally:
            self.world.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "examples", [pytest.param(60, id="quick"), pytest.param(5000, id="long", marks=pytest.mark.torture)]
)
def test_every_failure_of_the_connection_leads_back_to_the_next_try(examples: int) -> None:
    run_state_machine_as_test(
        LinkMachine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
    )
