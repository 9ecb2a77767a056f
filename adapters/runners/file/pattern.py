"""Shell patterns for names of files: ``*``, ``?``, ``[abc]``, ``[a-z]``, ``[!a]`` or ``[^a]``, and ``\\`` to quote.

The library's ``fnmatch`` reads ``[^a]`` as "a caret or an a": a clean-up would delete what it was told to keep.
"""

from __future__ import annotations

import re

from domain.errors import InvalidTask


def compiled(pattern: str) -> re.Pattern[str]:
    """For ``fullmatch`` of a whole name. Raises InvalidTask: what is not understood must not choose files."""
    chunks, at = [""], 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "*":
            chunks.append("")
            at += 1
            continue
        piece, at = (".", at + 1) if sign == "?" else _set(pattern, at) if sign == "[" else _letter(pattern, at)
        chunks[-1] += piece
    first, *rest = chunks
    if not rest:
        return re.compile(first, re.DOTALL)
    # The first place that fits is as good as any later one, so nothing is tried twice, however many stars there are.
    middle = "".join(f"(?>.*?{chunk})" for chunk in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)


def _letter(pattern: str, at: int) -> tuple[str, int]:
    """One plain or quoted character, and where the rest begins."""
    at += pattern[at] == "\\"
    if at == len(pattern):
        raise InvalidTask(f"pattern {pattern!r} ends in the middle")
    return re.escape(pattern[at]), at + 1


def _set(pattern: str, at: int) -> tuple[str, int]:
    """A set in brackets, and where the rest begins; a ``]`` that stands first is a member."""
    at += 1
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    members, start = "", at
    while pattern[at : at + 1] != "]" or at == start:
        if at >= len(pattern):
            raise InvalidTask(f"pattern {pattern!r} has a [ without its ]")
        low, at = _letter(pattern, at)
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _letter(pattern, at + 1)
            if low[-1] > high[-1]:
                raise InvalidTask(f"pattern {pattern!r} has a range that goes backwards")
            low += f"-{high}"
        members += low
    return f"[{'^' if negated else ''}{members}]", at + 1
