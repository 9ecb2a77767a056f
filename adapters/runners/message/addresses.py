"""Mail addresses as people write them, made into what a mail server takes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from email.headerregistry import Address
from email.utils import getaddresses

from domain.errors import InvalidTask


def addresses(texts: Iterable[str]) -> list[Address]:
    """``a@b.org``, ``Ada <a@b.org>``, or several of them with commas. Raises InvalidTask."""
    found = []
    for text in texts:
        if any(character in text for character in "\r\n\0"):
            raise InvalidTask("a mail address holds a line break")
        for name, address in getaddresses([text]):
            if not address:
                raise InvalidTask(f"{text!r} is no mail address")
            found.append(made(name, address))
    return found


def made(name: str, address: str) -> Address:
    """The domain becomes what DNS knows, so that only a local part beyond ASCII needs a server with SMTPUTF8."""
    local, at, domain = address.rpartition("@")
    try:
        return Address(name, local if at else domain, ascii_domain(domain) if at else "")
    except ValueError as error:
        raise InvalidTask(f"a mail header is not valid: {error}") from None


def ascii_domain(domain: str) -> str:
    """Not by Python's codec, whose rules of 2003 lead ``straße.de`` to ``strasse.de``, which may be somebody else's."""
    if domain.isascii():
        return domain
    labels = re.split(r"[.\u3002]", unicodedata.normalize("NFKC", domain.lower()))
    return ".".join(label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
