"""A TCP proxy on loopback that misbehaves as networks and middleboxes do (refuse, reset, black holes, slices, cuts)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any

LINGER_ZERO = struct.pack("ii", 1, 0)  # closing sends RST


class Mode(StrEnum):
    """How all connections behave, those that are open too. What a black hole holds flows when it heals."""

    PASS = "pass"
    HOLE = "black hole"
    HOLE_UP = "black hole up"  # what the client sends gets nowhere
    HOLE_DOWN = "black hole down"
    REFUSE = "refuse"
    RESET = "reset"
    SLOW = "slow"  # ``amount`` milliseconds before each piece
    SLICE = "slice"  # pieces of ``amount`` bytes
    CUT = "cut"  # each connection is reset after ``amount`` more bytes to the client
    DOUBLE = "double connect"  # the server sees each connection twice; the second one stays silent


DEAF = {True: (Mode.HOLE, Mode.HOLE_UP), False: (Mode.HOLE, Mode.HOLE_DOWN)}  # by: is it the way up?


class ChaosProxy:
    """Stands in front of ``host:port``; a context manager with one thread. Any thread may call any method."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = 0
        self.accepted = 0
        self.cuts = threading.Semaphore(0)  # released for each connection that CUT ended
        self._mode, self._amount = Mode.PASS, 0
        self._pairs: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ChaosProxy:
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), name="chaos-proxy")
        self._thread.start()
        ready.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    def mode(self, mode: Mode, amount: int = 0) -> None:
        """Behave so from now on; in force when it returns."""
        self._run(self._change(mode, amount))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _live(self, ready: concurrent.futures.Future[None]) -> None:
        self._loop, self._closing, self._changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        await self._listen()
        ready.set_result(None)
        await self._closing.wait()
        await self._hush()
        self._reset_all()
        while self._pairs:
            await asyncio.sleep(0.01)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _hush(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _change(self, mode: Mode, amount: int) -> None:
        self._mode, self._amount = mode, amount
        self._changed.set()
        self._changed = asyncio.Event()
        if mode in (Mode.REFUSE, Mode.RESET):
            self._reset_all()
        if mode is Mode.REFUSE:
            await self._hush()
        elif self._server is None:
            await self._listen()

    def _reset_all(self) -> None:
        for writer, task in list(self._pairs.items()):
            _reset(writer)
            if task is not None:
                task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._pairs[writer] = asyncio.current_task()
        others: list[asyncio.StreamWriter] = []
        try:
            if self._mode is Mode.RESET:
                return
            for _ in range(2 if self._mode is Mode.DOUBLE else 1):
                back, out = await asyncio.open_connection(*self._target)
                others.append(out)
                if len(others) == 1:
                    first = back
            pumps = [self._pump(reader, others[0], up=True), self._pump(first, writer, up=False)]
            await _first_of(*pumps)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, *others):
                _reset(one)
            del self._pairs[writer]

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, up: bool) -> None:
        counted_in, count = self._changed, 0
        while data := await source.read(65536):
            while self._mode in DEAF[up]:
                await self._changed.wait()
            if counted_in is not self._changed:
                counted_in, count = self._changed, 0
            if self._mode is Mode.CUT and not up and count + len(data) > self._amount:
                sink.write(data[: self._amount - count])
                await sink.drain()
                self.cuts.release()
                return
            count += len(data)
            await self._put(data, sink)

    async def _put(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        step = self._amount if self._mode is Mode.SLICE else len(data)
        for at in range(0, len(data), step):
            if self._mode is Mode.SLOW:
                await asyncio.sleep(self._amount / 1000)
            sink.write(data[at : at + step])
            await sink.drain()
            await asyncio.sleep(0)


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run them until one ends, then end the others. Raises what that one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    if (sock := writer.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    writer.transport.abort()
