"""Peers on a loopback port that do exactly what a script says, byte by byte: for faults no real server offers."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class PeerConnection:
    """One accepted connection. Ends by itself after ``timeout`` seconds without a byte, so that no test hangs."""

    def __init__(self, sock: socket.socket, timeout: float = 10.0) -> None:
        self.sock = sock
        sock.settimeout(timeout)

    def read_head(self) -> str:
        """One HTTP head, without the empty line."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        return head[:-4].decode("latin-1")

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.sock.recv(size - len(data))
            if not chunk:
                raise EOFError("the client closed the connection")
            data += chunk
        return data

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, status: int, body: bytes = b"", *headers: str) -> None:
        """One HTTP answer."""
        lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}", *headers]
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def upgrade(self, head: str = "") -> str:
        """Accept a WebSocket; returns the request's head, which is read unless it is given."""
        head = head or self.read_head()
        key = next(line.split(": ", 1)[1] for line in head.splitlines() if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()
        self.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        return head

    def send_frame(self, payload: bytes, opcode: int = 1, fin: bool = True) -> None:
        self.write(frame_bytes(payload, opcode, fin))

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame of the client, unmasked: opcode and payload."""
        first, second = self.read(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self.read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self.read(8))
        mask = self.read(4)
        masked = self.read(size)
        return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_closed(self) -> None:
        """Read and forget until the client is gone."""
        try:
            while self.sock.recv(65536):
                pass
        except OSError:
            pass


def frame_bytes(payload: bytes, opcode: int = 1, fin: bool = True, announced: int | None = None) -> bytes:
    """An unmasked frame; ``announced`` lets its length lie."""
    size = len(payload) if announced is None else announced
    first = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        return first + bytes([size]) + payload
    if size < 1 << 16:
        return first + b"\x7e" + struct.pack("!H", size) + payload
    return first + b"\x7f" + struct.pack("!Q", size) + payload


class ScriptedPeer:
    """Listens; each connection runs ``script`` on a thread of its own. Leaving the ``with`` block ends all of it."""

    def __init__(self, script: Callable[[PeerConnection], None], tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.errors: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="scripted-accept", daemon=True)]

    def __enter__(self) -> ScriptedPeer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(5)
        self._listener.close()
        for sock in self._sockets:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads[1:]:
            thread.join(5)
        for sock in self._sockets:
            sock.close()

    def wait_idle(self) -> None:
        """Return when the scripts of all connections so far have ended and their sockets are closed."""
        for thread in self._threads[1:]:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(sock,), name="scripted-peer", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        self._sockets.append(sock)
        try:
            if self._tls:
                sock.settimeout(10)
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            self._script(PeerConnection(sock))
        except (OSError, EOFError) as error:
            self.errors.append(error)
        finally:
            sock.close()
