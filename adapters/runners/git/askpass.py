"""Hands secrets to git and ssh without argv, environment or file: their askpass helper asks over a private socket."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

HELPER = """\
import os, socket, sys
os.chdir({directory!r})
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(20)
peer.connect("ask")
peer.sendall(sys.argv[1].encode("utf-8", "replace")[:4096] if len(sys.argv) > 1 else b"")
peer.shutdown(socket.SHUT_WR)
answer = b""
while part := peer.recv(65536):
    answer += part
if not answer:
    sys.exit(1)
sys.stdout.buffer.write(answer[1:] + b"\\n")
"""
QUESTION = re.compile(r"(Username|Password) for 'https://(?:[^@']*@)?([^/']+)/?.*'")

Answers = Callable[[str], str | None]


def https_answers(authority: str, user: str, password: str) -> Answers:
    """Answer for one host only: a redirect or a submodule elsewhere learns nothing."""

    def answer(prompt: str) -> str | None:
        asked = QUESTION.match(prompt)
        if asked is None or asked[2].lower() != authority.lower():
            return None
        return user if asked[1] == "Username" else password

    return answer


def passphrase_answers(passphrase: str) -> Answers:
    return lambda prompt: passphrase if prompt.startswith("Enter passphrase for") else None


class Askpass:
    """Lives for one run; the socket lies in ``directory`` (0700) and serves this user's processes only."""

    def __init__(self, directory: Path, answers: Answers) -> None:
        self._answers = answers
        self._socket = socket.socket(socket.AF_UNIX)
        place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # An address holds 107 bytes, and a directory for temporary files may be deeper than that.
            self._socket.bind(f"/proc/self/fd/{place}/ask")
            self._socket.listen(8)
        except OSError:
            self._socket.close()
            raise
        finally:
            os.close(place)
        (directory / "ask.py").write_text(HELPER.format(directory=str(directory)))
        self.program = directory / "askpass"
        self.program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -IS '{directory}/ask.py' \"$@\"\n")
        self.program.chmod(0o700)
        self._thread = threading.Thread(target=self._serve, name="git-askpass", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; idempotent. Blocks for at most one answer."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        except OSError:
            pass
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(2)
                try:
                    self._answer(peer)
                except OSError:
                    continue  # the helper was killed; the next one may ask again

    def _answer(self, peer: socket.socket) -> None:
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.getuid():
            return
        prompt = b""
        while len(prompt) < 8192 and (part := peer.recv(4096)):
            prompt += part
        answer = self._answers(prompt.decode("utf-8", "replace"))
        if answer is not None:
            peer.sendall(b"=" + answer.encode())
