"""The modelled API server over real HTTP and WebSocket on loopback, with the real one's manners (protocol 1, 2)."""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

from aiohttp import web

from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.event_stream import EventStream
from adapters.testkit.model.controls import ServerControls
from adapters.testkit.model.faults import DISCARD, DROP, GARBAGE, LOST, REFUSE, TORN, Fault
from adapters.testkit.model.replies import AUTH, AUTH_TRIES, Reply
from adapters.testkit.model.requests import answer, call_name
from adapters.testkit.model.server import PING_DEADLINE, Connection
from adapters.testkit.model.tasks import parse

PREFIX = "/api/v1"
TICK = 0.05
_ROUTES = frozenset({"lock", "task", "tasklog", "category", "credentials", "approvals", "worker", "ws"})


# Of the loopback network, but not the usual address: while this server is away, its workers go on asking for it, and
# must not reach another test's server that was given the same port meanwhile.
HOST = "127.0.0.2"


class SimulatedServer(ServerControls):
    """A server in one background thread; a context manager. Every method may be called from any thread.

    ``ping_deadline`` is in seconds, counted from the first ping on. A client that does not read delays nobody: each
    connection has its own writer, and what finds its queue full is dropped, as by the real server. Leaving the
    context closes every socket within a second.
    """

    def __init__(
        self,
        token: str = "simulated",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        ping_deadline: float = PING_DEADLINE,
    ) -> None:
        super().__init__(ThreadRuntime(), token)
        self.port = port
        self.model.ping_deadline = ping_deadline
        self._ssl = ssl_context
        self._loop: asyncio.AbstractEventLoop
        self._runner: web.ServerRunner
        self._site: web.SockSite | None = None
        self._closing: asyncio.Event
        self._flowing: asyncio.Event
        self._thread: threading.Thread | None = None
        self._appending: dict[str, web.BaseRequest] = {}
        self._in_line: dict[int, web.BaseRequest] = {}

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://{HOST}:{self.port}"

    def __enter__(self) -> SimulatedServer:
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), name="simulated-server")
        self._thread.start()
        ready.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once; idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._closing.set)
            thread.join(5)

    # -- trouble -----------------------------------------------------------------------------------------------------

    def drop_connections(self) -> None:
        """Reset every connection, kept-alive HTTP ones too."""
        self._run(self._reset())

    def pause(self, black_hole: bool = False) -> None:
        """Be gone until ``resume``: connections are refused, or, as a black hole, accepted and answered only then.

        A client that leaves such a black hole has left its request there, and an append to a log then destroys it.
        """
        self._run(self._leave(black_hole))

    def resume(self) -> None:
        self._run(self._return())

    @property
    def requests_in_line(self) -> int:
        """How many clients wait at a black hole."""
        return sum(it.transport is not None and not it.transport.is_closing() for it in tuple(self._in_line.values()))

    @property
    def appends_in_flight(self) -> int:
        """How many requests to append to a log are being answered."""
        return len(self._appending)

    async def _reset(self) -> None:
        server = self._runner.server
        for handler in list(server.connections if server else ()):
            if handler.transport is not None:
                handler.transport.abort()
        super().drop_connections()

    async def _leave(self, black_hole: bool) -> None:
        if black_hole:
            self._flowing.clear()
            return
        if self._site is not None:
            await self._site.stop()
            self._site = None
        await self._reset()

    async def _return(self) -> None:
        if self._site is None:
            await self._listen()
        self._flowing.set()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    # -- life --------------------------------------------------------------------------------------------------------

    async def _live(self, ready: concurrent.futures.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing, self._flowing = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0.1)
        try:
            await self._runner.setup()
            await self._listen()
        except OSError as error:
            ready.set_exception(error)
            await self._runner.cleanup()
            return
        ready.set_result(None)
        while not self._closing.is_set():
            with self.guard:
                self.model.tick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), TICK)
        await self._reset()
        await self._runner.cleanup()

    async def _listen(self) -> None:
        listener = socket.create_server((HOST, self.port))
        self.port = listener.getsockname()[1]
        self._site = web.SockSite(self._runner, listener, ssl_context=self._ssl)
        await self._site.start()

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()  # kept by the request: a client that leaves takes with it what was not read
        self._in_line[id(request)] = request
        await self._flowing.wait()
        del self._in_line[id(request)]
        if request.method == "GET" and request.path == "/health":  # at the root, without a key (protocol 6.10)
            with self.guard:
                return _reply(self.model.health())
        path = request.path.removeprefix(PREFIX)
        parts = path.split("/")
        if not request.path.startswith(f"{PREFIX}/") or "//" in path or parts[1] not in _ROUTES:
            return _not_found()
        if path.endswith("/") == (parts[1] == "lock"):  # the other form is right (protocol 1.4)
            return _redirect(request)
        with self._in_flight(request, path):
            return await self._exchange(request, path, parts[1])

    @contextlib.contextmanager
    def _in_flight(self, request: web.BaseRequest, path: str) -> Iterator[None]:
        """Notes two appends to one log at a time: the real server would lose text (protocol 6.5)."""
        if not path.endswith("/append/"):
            yield
            return
        other = self._appending.get(path)
        if other is not None and other.transport is not None and not other.transport.is_closing():
            with self.guard:
                self.model.note("append overlap", path.split("/")[2])
        self._appending[path] = request
        try:
            yield
        finally:
            if self._appending.get(path) is request:
                del self._appending[path]

    async def _exchange(self, request: web.BaseRequest, path: str, route: str) -> web.StreamResponse:
        query = dict(request.query)
        with self.guard:
            fault = self.model.faults.next(call_name(path, query))
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.kind == REFUSE:
                return _reply((fault.status, {"code": fault.status, "message": "scripted"}))
            if fault.kind in (DISCARD, DROP):
                return _hang_up(request)
        if route == "ws":
            return await self._upgrade(request, query, fault)
        if AUTH in self.model.away:
            await asyncio.sleep(AUTH_TRIES)
        left = (fault is not None and fault.kind == TORN) or request.transport is None or request.transport.is_closing()
        reply = self._answer(request, path, query, await request.read(), left)
        if fault is not None and fault.kind in (LOST, TORN):
            return _hang_up(request)
        if fault is not None and fault.kind == GARBAGE:
            return web.Response(body=b"<html>\xff", content_type="text/html")
        return _reply(reply)

    def _answer(self, request: web.BaseRequest, path: str, query: dict[str, str], data: bytes, left: bool) -> Reply:
        body: Any = None
        if data:
            try:
                body = parse(data) if request.content_type == "application/json" else None
            except ValueError:
                body = None
            if not isinstance(body, dict):  # another content type is read as a form without our fields
                return 400, {"code": 400, "message": "field required"}
        with self.guard:
            return answer(self.model, request.method, path, query, body, request.headers.get("Authorization", ""), left)

    # -- the event stream --------------------------------------------------------------------------------------------

    async def _upgrade(
        self, request: web.BaseRequest, query: dict[str, str], fault: Fault | None
    ) -> web.StreamResponse:
        if request.method != "GET":
            return _not_found()
        with self.guard:
            connection = self.model.connect(query.get("key", ""), query.get("value", ""))
        if not isinstance(connection, Connection):
            return _reply(connection)
        stream = web.WebSocketResponse(timeout=0.2, autoping=False, max_msg_size=0, compress=False)
        try:
            if fault is not None and fault.kind == LOST:
                return _hang_up(request)
            if not stream.can_prepare(request):  # the lock is used up all the same (protocol 2.2)
                return web.Response(status=400, text='Bad Request\n{"code":500,"message":"upgrade"}')
            await stream.prepare(request)
            await EventStream(self.model, self.guard, stream, self._flowing).carry(connection)
        finally:
            with self.guard:
                connection.wake = lambda: None
                self.model.disconnect(connection)
        return _hang_up(request)


def _reply(reply: Reply) -> web.Response:
    status, document = reply
    if not document:
        return _not_found()
    return web.json_response(document, status=status, dumps=lambda it: json.dumps(it, ensure_ascii=False))


def _not_found() -> web.Response:
    return web.Response(status=404, text="404 page not found")


def _redirect(request: web.BaseRequest) -> web.Response:
    path = request.path[:-1] if request.path.endswith("/") else f"{request.path}/"
    location = f"{path}?{request.query_string}" if request.query_string else path
    return web.Response(status=301 if request.method == "GET" else 307, headers={"Location": location})


def _hang_up(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def main() -> None:
    """Run in the foreground until a signal comes."""
    parser = argparse.ArgumentParser(description="A simulated API server on loopback, for tries and tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="simulated", help="what workers must send; it protects nothing")
    parser.add_argument("--demo", action="store_true", help="offer a few tasks")
    given = parser.parse_args()
    with SimulatedServer(given.token, given.port) as server:
        if given.demo:
            for number, command in enumerate(("echo hello", "sleep 5; echo slept", "echo oops >&2; exit 3"), 1):
                server.add_task(name=f"demo-{number}", command=command, timeout=60)
        print(f"{server.url}{PREFIX}", flush=True)
        print(f"join it: API_SERVER_URL={server.url}{PREFIX} API_AUTH_TOKEN={given.token} make run", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
