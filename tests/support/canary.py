"""Looks for secrets in what a program wrote and in what its processes show of themselves (G63, G64)."""

from __future__ import annotations

import base64
import json
import os
import shlex
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus


def disguises(secret: str) -> set[bytes]:
    """A secret raw, in JSON, in a URL, in shell quotes, in hexadecimal and in base64 at each alignment."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode()}
    found |= {json.dumps(secret)[1:-1].encode(), json.dumps(secret, ensure_ascii=False)[1:-1].encode()}
    found |= {quote(secret).encode(), quote(secret, safe="").encode(), quote_plus(secret).encode()}
    found |= {shlex.quote(secret).strip("'").encode(), secret.replace("'", "'\\''").encode()}
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * shift + raw)
            found.add(text[4 if shift else 0 : -4])
    return found


def leaks(secrets: Mapping[str, str], texts: Mapping[str, bytes]) -> list[str]:
    """``SECRET in PLACE`` for each that is found."""
    return [
        f"{name} in {place}: ...{text[max(0, text.index(form) - 60) : text.index(form) + 20]!r}"
        for name, secret in secrets.items()
        for place, text in texts.items()
        for form in disguises(secret)
        if form in text
    ]


def files(directory: Path, without: Iterable[Path] = ()) -> dict[str, bytes]:
    """Every file below ``directory`` by its path."""
    left_out = set(without)
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file() and path not in left_out}


class Sampler:
    """Reads the arguments and the environment of every process but this one while the block runs."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sampler")

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            for entry in os.listdir("/proc"):
                if entry.isdigit() and int(entry) != os.getpid():
                    for name in ("cmdline", "environ"):
                        try:
                            self.seen.add(Path(f"/proc/{entry}/{name}").read_bytes())
                        except OSError:
                            continue
