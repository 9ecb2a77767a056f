"""What a log at the server should hold, found from what it does hold: the server may lose what it had (G38)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Others:
    """What stands in a log before the byte ``start`` of ours: text of others, and maybe ours in between."""

    text: bytes = b""
    start: int = 0

    def whole(self, ours: bytes) -> bytes:
        return self.text + ours[self.start :]

    @property
    def base(self) -> int:
        """How many bytes of others there are."""
        return len(self.text) - self.start


def compare(held: bytes, ours: bytes, offset: int, base: int | None, others: Others | None, limit: int) -> Others:
    """Tell what of ``held`` is of others.

    ``held`` is the server's log, ``ours`` all that this worker has to tell, ``offset`` how much of it was confirmed
    behind ``base`` bytes of others, None where nothing was. ``others`` is what was found before, if anything was. Up
    to ``limit`` bytes behind the offset may have been sent without an answer.
    """
    known = Others() if others is None and base == 0 else others
    confirmed = _confirmed(held, ours, offset, base, known)
    if confirmed is None or not held.startswith(confirmed):
        return known or Others()
    rest = held[len(confirmed) :]
    strange = rest[: _meeting(rest, ours[offset:], limit)]
    # A piece of ours that stands there a second time is no text of others, unless they were there first.
    if strange and ((known is None and base is None) or strange not in ours):
        return Others(confirmed + strange, offset)
    return known if known is not None else Others(confirmed, offset)


def _confirmed(held: bytes, ours: bytes, offset: int, base: int | None, known: Others | None) -> bytes | None:
    if known is not None:
        return known.text + ours[known.start : offset]
    if base is None:
        return b""
    # A previous run knew the text of others: taken for good where it is long enough, ends as it should, is not ours.
    found = held[: base + offset]
    good = len(found) == base + offset and found.endswith(ours[max(0, offset - 64) : offset]) and found not in ours
    return found if good else None


def _meeting(rest: bytes, ours: bytes, limit: int) -> int:
    """Where in ``rest`` the text begins with which ``ours`` begins and ``rest`` ends."""
    if ours.startswith(rest):
        return 0
    for at in range(max(0, len(rest) - limit), len(rest)):
        if ours.startswith(rest[at : at + 16]) and ours.startswith(rest[at:]):
            return at
    return len(rest)
