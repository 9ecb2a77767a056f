"""Whether the key that an ssh server shows is known for it, by the lines of OpenSSH's known hosts files."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import InvalidTask

OWN, SYSTEM = "~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"


@dataclass(slots=True)
class HostKeys:
    """The keys known for one server: (type, base64). Authorities (``@cert-authority``) are not taken."""

    accepted: list[tuple[str, str]] = field(default_factory=list)
    revoked: list[tuple[str, str]] = field(default_factory=list)

    def judge(self, kind: str, key: str) -> str:
        """``known``, ``unknown`` (nothing is known for this server), ``changed`` or ``revoked``."""
        if (kind, key) in self.revoked:
            return "revoked"
        if (kind, key) in self.accepted:
            return "known"
        return "changed" if self.accepted else "unknown"


class KnownHosts:
    """A task's ``known_hosts``, else the worker's: lines, or the path of a file; empty: the files of the user."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines() if "\n" in text or " " in text.strip() else None
        self._paths = [text] if text.strip() else [OWN, SYSTEM]

    def of(self, host: str, port: int) -> HostKeys:
        """Raises InvalidTask where a file cannot be read; one that is missing knows nobody."""
        lines = self._lines
        if lines is None:
            lines = [line for path in self._paths for line in _read(path)]
        return _matching(lines, name_of(host, port))

    def remember(self, host: str, port: int, kind: str, key: str) -> None:
        """Add a line to the file, if it is one. Raises OSError."""
        if self._lines is None:
            path = os.path.expanduser(self._paths[0])
            os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(descriptor, "a+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                whole = not size or os.pread(descriptor, 1, size - 1) == b"\n"
                file.write(f"{'' if whole else chr(10)}{name_of(host, port)} {kind} {key}\n".encode())


def name_of(host: str, port: int) -> str:
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def _read(path: str) -> list[str]:
    try:
        return Path(os.path.expanduser(path)).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidTask(f"known hosts: {path}: {error.strerror}") from None


def _matching(lines: Iterable[str], name: str) -> HostKeys:
    found = HostKeys()
    for line in lines:
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or not _names(words[0], name):
            continue
        if marker == "@revoked":
            found.revoked.append((words[1], words[2]))
        elif not marker:
            found.accepted.append((words[1], words[2]))
    return found


def _names(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        return _hashed(patterns, name)
    matched = False
    for pattern in patterns.lower().split(","):
        # Only * and ? are special there; brackets stand around hosts with a port.
        if fnmatch.fnmatchcase(name, re.sub(r"\[", "[[]", pattern.removeprefix("!"))):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched


def _hashed(text: str, name: str) -> bool:
    try:
        _, _, salt, wanted = text.split("|")
        made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()  # the format's own choice
        return hmac.compare_digest(made, base64.b64decode(wanted))
    except (ValueError, binascii.Error):
        return False
