"""A simulated Runtime: the whole core under one seed, in virtual time, one fiber at a time.

Fibers are greenlets. One runs until it blocks (waits, sleeps, takes a contended lock); then the next is chosen by a
seeded generator among those that can go on. When none can, time jumps to the next deadline; when there is no deadline
either, a deadlock is found. The same seed gives the same history.

Nodes are simulated machines: they can crash (their fibers never run again), freeze, and have a clock of another rate.
Single OS thread: nothing here may be called from another one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import greenlet

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
START = 1000.0


class Deadlock(AssertionError):
    """No fiber can go on and none waits for a time."""


@dataclass(eq=False)
class _Fiber:
    node: SimNode
    name: str
    let: Any = None
    ready: Callable[[], bool] | None = None
    deadline: float | None = None
    error: BaseException | None = None


class Simulation:
    """The world: virtual ``time`` in seconds, the seeded generator, all nodes."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.time = START
        self.steps = 0
        self._fibers: list[_Fiber] = []  # of nodes that are alive
        self._buried: list[_Fiber] = []
        self._current: _Fiber | None = None
        self._hub = greenlet.getcurrent()

    def node(self, name: str, rate: float = 1.0) -> SimNode:
        return SimNode(self, name, rate)

    def run(self, done: Callable[[], bool], limit: float) -> bool:
        """Let the world run until ``done`` or for ``limit`` virtual seconds; returns whether it was done.

        Raises Deadlock, and whatever a fiber raised.
        """
        end = self.time + limit
        while not done():
            if runnable := self._runnable():
                self._resume(self.random.choice(runnable))
            elif not self._jump(end):
                return done()
        return True

    def close(self) -> None:
        """Throw away all fibers; each sees GreenletExit."""
        fibers, self._fibers, self._buried = [*self._fibers, *self._buried], [], []
        for fiber in fibers:
            if not fiber.let.dead:
                fiber.let.throw()

    def spawn(self, node: SimNode, name: str, target: Callable[[], None]) -> _Fiber:
        fiber = _Fiber(node, name)

        def body() -> None:
            try:
                target()
            except greenlet.GreenletExit:
                pass
            except BaseException as error:  # noqa: BLE001 - handed to whoever runs the simulation
                fiber.error = error

        fiber.let = greenlet.greenlet(body, parent=self._hub)
        self._fibers.append(fiber)
        return fiber

    def block(self, ready: Callable[[], bool] | None, timeout: float | None) -> None:
        """Hand over until ``ready`` holds or ``timeout`` virtual seconds passed; at once if ``ready`` is None."""
        fiber = self._current
        if fiber is None:  # outside of any fiber: the caller is the test itself
            return
        fiber.ready = ready
        fiber.deadline = None if timeout is None else self.time + max(0.0, timeout) / fiber.node.rate
        self._hub.switch()

    def postpone(self, node: SimNode, seconds: float) -> None:
        """Let what the node's fibers wait for come ``seconds`` later."""
        for fiber in self._fibers:
            if fiber.node is node and fiber.deadline is not None:
                fiber.deadline += seconds

    def bury(self, node: SimNode) -> None:
        """The node is dead: its fibers are never looked at again."""
        self._buried += [fiber for fiber in self._fibers if fiber.node is node]
        self._fibers = [fiber for fiber in self._fibers if fiber.node is not node]

    def _runnable(self) -> list[_Fiber]:
        """Those that can go on. The inner loop of all: written for speed."""
        now = self.time
        return [
            fiber
            for fiber in self._fibers
            if (
                (fiber.ready is None if fiber.deadline is None else fiber.deadline <= now)
                and fiber.node.frozen_until <= now
            )
            or (fiber.ready is not None and fiber.node.frozen_until <= now and fiber.ready())
        ]

    def _resume(self, fiber: _Fiber) -> None:
        self.steps += 1
        fiber.ready, fiber.deadline = None, None
        self._current = fiber
        try:
            fiber.let.switch()
        finally:
            self._current = None
        if fiber.let.dead:
            self._fibers.remove(fiber)
            if fiber.error is not None:
                raise fiber.error

    def _jump(self, end: float) -> bool:
        """Move time to the next moment at which something can happen; False at the end."""
        moments = []
        for fiber in self._fibers:
            if fiber.deadline is not None or fiber.ready is None:
                moments.append(max(fiber.deadline or 0.0, fiber.node.frozen_until))
            elif fiber.node.frozen_until > self.time:
                moments.append(fiber.node.frozen_until)
        if not moments:
            waiting = ", ".join(f"{fiber.node.name}/{fiber.name}" for fiber in self._fibers)
            raise Deadlock(f"seed {self.seed}: nobody can go on at {self.time:.3f}: {waiting}")
        self.time = min(max(min(moments), self.time), end)
        return self.time < end


class SimNode:
    """One simulated machine, and the Runtime port on it."""

    def __init__(self, world: Simulation, name: str, rate: float) -> None:
        self.world = world
        self.name = name
        self.rate = rate
        self.alive = True
        self.frozen_until = 0.0

    def crash(self) -> None:
        """Nothing on this node runs again; make a new node to restart."""
        self.alive = False
        self.world.bury(self)

    def freeze(self, seconds: float) -> None:
        self.frozen_until = self.world.time + seconds

    def suspend(self, seconds: float) -> None:
        """Sleep as a laptop does: ``now`` counts it, but each wait still takes as long as it would have taken."""
        self.freeze(seconds)
        self.world.postpone(self, seconds)

    def now(self) -> float:
        return START + (self.world.time - START) * self.rate

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.world.time)

    def uniform(self, low: float, high: float) -> float:
        return self.world.random.uniform(low, high)

    def token(self) -> str:
        return f"{self.world.random.getrandbits(128):032x}"

    def event(self) -> SimEvent:
        return SimEvent(self.world)

    def lock(self) -> AbstractContextManager[Any]:
        return SimLock(self.world)

    def start(self, name: str, target: Callable[[], None]) -> SimThread:
        return SimThread(self.world, self.world.spawn(self, name, target))

    def sleep(self, seconds: float) -> None:
        self.world.block(None, seconds)


class SimEvent:
    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._flag = False

    def set(self) -> None:
        self._flag = True

    def clear(self) -> None:
        self._flag = False

    def is_set(self) -> bool:
        return self._flag

    def wait(self, timeout: float | None = None) -> bool:
        if not self._flag:
            self._world.block(self.is_set, timeout)
        return self._flag


class SimLock:
    """Taking it is a chance for others to come first: that is where real threads interleave."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._held = False

    def __enter__(self) -> None:
        if self._world.random.random() < 0.2:
            self._world.block(None, None)
        while self._held:
            self._world.block(lambda: not self._held, None)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


class SimThread:
    def __init__(self, world: Simulation, fiber: _Fiber) -> None:
        self._world = world
        self._fiber = fiber

    def is_alive(self) -> bool:
        return not self._fiber.let.dead

    def join(self, timeout: float | None = None) -> None:
        if self.is_alive():
            self._world.block(lambda: not self.is_alive(), timeout)
