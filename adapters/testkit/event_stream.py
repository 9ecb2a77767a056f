"""One WebSocket connection of the simulated server (protocol 2.4 to 2.7)."""

from __future__ import annotations

import asyncio
import threading

from aiohttp import WSMsgType, web

from adapters.testkit.model.server import Connection, ServerModel


class EventStream:
    """Carries a model's connection over a prepared WebSocket until either of them ends.

    ``flowing`` unset makes it a black hole. The model ends a connection whose pings stay out, without a close frame.
    """

    def __init__(
        self,
        model: ServerModel,
        guard: threading.RLock,
        socket: web.WebSocketResponse,
        flowing: asyncio.Event,
    ) -> None:
        self._model = model
        self._guard = guard
        self._socket = socket
        self._flowing = flowing

    async def carry(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.Event()
        waiting.set()

        def wake() -> None:
            loop.call_soon_threadsafe(waiting.set)

        with self._guard:
            connection.wake = wake
        writer = asyncio.create_task(self._push(connection, waiting))
        reader = asyncio.create_task(self._read(connection))
        _, rest = await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(writer, reader, return_exceptions=True)

    async def _push(self, connection: Connection, waiting: asyncio.Event) -> None:
        """Ends when the model has ended the connection."""
        while connection.open:
            await waiting.wait()
            waiting.clear()
            await self._flowing.wait()
            while (data := self._next(connection)) is not None:
                await self._socket.send_str(data.decode())

    def _next(self, connection: Connection) -> bytes | None:
        with self._guard:
            return connection.send_queue.popleft() if connection.send_queue else None

    async def _read(self, connection: Connection) -> None:
        """One message after the other, so that a pong tells that all before it was processed (protocol 2.7)."""
        while True:
            message = await self._socket.receive()
            await self._flowing.wait()
            if message.type is WSMsgType.PING:
                with self._guard:
                    pong = self._model.ping(connection)
                if pong:
                    await self._socket.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                data = message.data.encode() if isinstance(message.data, str) else message.data
                with self._guard:
                    alive = self._model.message(connection, data)
                if not alive:
                    await self._socket.close(code=1009)
                    return
            elif message.type is not WSMsgType.PONG:
                return
