"""Which repositories, refs and directories a git task may name (G75)."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from domain.errors import InvalidTask

HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)"
PORT = r"(?::(?P<port>[0-9]{1,5}))?"
USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
PATH = r"[A-Za-z0-9._~/+%@-]+"
HTTPS = re.compile(rf"https://{HOST}{PORT}/{PATH}")
SSH = re.compile(rf"ssh://(?:{USER}@)?{HOST}{PORT}/{PATH}")
SCP = re.compile(rf"{USER}@{HOST}:(?!-){PATH}")
FILE = re.compile(rf"file:///{PATH}")
COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")


def check_url(url: str, allow_file: bool) -> None:
    """Raises InvalidTask unless it is https, ssh or ``user@host:path`` without a password in it (GIT11)."""
    if HTTPS.fullmatch(url) or SSH.fullmatch(url) or SCP.fullmatch(url) or (allow_file and FILE.fullmatch(url)):
        return
    raise InvalidTask(
        "url must be https://HOST/PATH, ssh://[USER@]HOST/PATH or USER@HOST:PATH, without a password: "
        "put that into a credential"
    )


def authority(url: str) -> str:
    """``host[:port]`` of an https URL, empty for every other."""
    found = HTTPS.fullmatch(url)
    if found is None:
        return ""
    return found["host"] + (f":{found['port']}" if found["port"] else "")


def check_ref(name: str, key: str) -> None:
    """The rules of ``git check-ref-format``, and no name that could be read as an option (GIT1)."""
    parts = name.split("/")
    if (
        not name
        or name == "@"
        or name.startswith(("-", "/"))
        or name.endswith(("/", "."))
        or FORBIDDEN.search(name)
        or any(part.startswith(".") or part.endswith(".lock") for part in parts)
    ):
        raise InvalidTask(f"{key} {name!r} is no valid name of a git ref")


def check_commit(text: str) -> None:
    if not COMMIT.fullmatch(text):
        raise InvalidTask("commit must be 7 to 64 hexadecimal digits")


def check_replaceable(directory: Path) -> None:
    """Raises InvalidTask where emptying the directory would take more than a working copy with it (GIT3)."""
    real = Path(os.path.realpath(directory))
    precious = [Path.cwd(), Path.home(), Path(tempfile.gettempdir())]
    held = any(Path(os.path.realpath(place)).is_relative_to(real) for place in precious)
    if held or len(real.parts) <= 2 or directory.is_symlink() or os.path.ismount(real):
        raise InvalidTask(f"clean refuses to replace the directory {directory}: give the task a directory of its own")
