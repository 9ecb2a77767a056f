"""Texts with ``${NAME}`` in them, and what becomes of them."""

from __future__ import annotations

from hypothesis import strategies as st


def filled(text: str, environment: dict[str, str]) -> str:
    """Substitution without a regular expression: from left to right, what came in is not looked at again."""
    out, at = "", 0
    while at < len(text):
        end = text.find("}", at)
        name = text[at + 2 : end] if text.startswith("${", at) and end > 0 else ""
        if name and all(sign.isascii() and (sign.isalnum() or sign == "_") for sign in name):
            out += environment.get(name, text[at : end + 1])
            at = end + 1
        else:
            out += text[at]
            at += 1
    return out


NAMES = st.text("AB_9", min_size=1, max_size=2)
PIECES = st.lists(NAMES | st.sampled_from(["${", "}", "$", "{", "${A}", "${B}", "$${A}", "${${A}}", "ä"]), max_size=8)
TEMPLATES = PIECES.map("".join)
