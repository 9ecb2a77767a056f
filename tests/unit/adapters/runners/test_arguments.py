"""Decoding of args: what tasks defined for the original rely on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.runners.arguments import decode, substitute
from domain.errors import InvalidTask
from tests.support.templates import NAMES, TEMPLATES, filled


@dataclass(frozen=True)
class Model:
    name: str = ""
    count: int = 0
    flag: bool = False
    maybe: bool | None = None
    items: list[str] = field(default_factory=list)
    pairs: dict[str, str] = field(default_factory=dict)
    anything: Any = None


def test_keys_match_exactly_else_without_case_and_unknown_ones_are_ignored() -> None:
    assert decode('{"NAME": "a", "Count": 3, "more": 1}', Model) == Model("a", 3)
    assert decode('{"NAME": "a", "name": "b"}', Model).name == "b"
    assert decode('{"name": "a", "name": "b"}', Model).name == "b"


def test_null_leaves_the_default() -> None:
    assert decode('{"name": null, "items": null}', Model) == decode("null", Model) == Model()


@pytest.mark.parametrize(
    "fields",
    [{"flag": "true"}, {"flag": 1}, {"count": "30"}, {"count": 30.0}, {"count": True}, {"name": 1}, {"items": ["a", 1]},
     {"items": "a"}, {"pairs": {"a": 1}}, {"pairs": []}, {"maybe": "x"}],
)  # fmt: skip
def test_a_wrong_type_names_its_key(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match=next(iter(fields))):
        decode(json.dumps(fields), Model)


@pytest.mark.parametrize("text", ["", "  ", "{", "[]", "3", '{"a": NaN}', "{} x", '{"a": "\n"}', "[" * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask, match="args"):
        decode(text, Model)


def test_big_numbers_and_odd_characters_survive() -> None:
    found = decode('{"anything": {"n": 9007199254740993}, "name": "\\ud800x"}', Model)
    assert found.anything["n"] == 9007199254740993
    assert found.name == "\N{REPLACEMENT CHARACTER}x"


TEXTS = st.text(st.characters(), max_size=4) | st.sampled_from(["\ud800", "a\udfffb", "NaN"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "name": TEXTS, "count": st.integers(-(2**63), 2**63 - 1), "flag": st.booleans(), "maybe": st.booleans(),
    "items": st.lists(TEXTS | st.none(), max_size=3), "pairs": st.dictionaries(TEXTS, TEXTS | st.none(), max_size=3),
    "anything": VALUES,
}  # fmt: skip


@st.composite
def documents(draw: st.DrawFn, values: Callable[[str], st.SearchStrategy[Any]]) -> list[tuple[str, Any]]:
    """Keys in any order, more than once, in any case, and unknown ones; ``values`` gives what a field may hold."""
    pairs = []
    for field_name in draw(st.lists(st.sampled_from([*FITTING, "unknown"]), max_size=6)):
        key = "".join(sign.upper() if draw(st.booleans()) else sign for sign in field_name)
        pairs.append((draw(st.sampled_from([key, field_name])), draw(values(field_name))))
    return pairs


def written(pairs: list[tuple[str, Any]]) -> str:
    return "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs) + "}"


def mended(value: Any) -> Any:
    """Lone surrogates become U+FFFD, as the original's decoder makes them."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in value)
    if isinstance(value, list):
        return [mended(item) for item in value]
    return {mended(key): mended(item) for key, item in value.items()} if isinstance(value, dict) else value


class Wrong(Exception):
    pass


def fitted(kind: str, value: Any) -> Any:
    """What a field of a kind makes of a value; null is its zero value. Raises Wrong."""
    zero = {"text": "", "number": 0, "flag": False}
    if value is None and kind in zero:
        return zero[kind]
    good = {
        "text": isinstance(value, str), "flag": isinstance(value, bool), "any": True,
        "number": isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63,
        "list": isinstance(value, list), "map": isinstance(value, dict),
    }  # fmt: skip
    if not good[kind]:
        raise Wrong
    if kind == "list":
        return [fitted("text", item) for item in value]
    return {key: fitted("text", item) for key, item in value.items()} if kind == "map" else value


KINDS = {"name": "text", "count": "number", "flag": "flag", "maybe": "flag", "items": "list", "pairs": "map",
         "anything": "any"}  # fmt: skip


def modelled(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields that are set: an exact key wins over one in another case, the last of equal ones counts."""
    found = {}
    for name, kind in KINDS.items():
        exact = [value for key, value in pairs if key == name]
        other = [value for key, value in pairs if key.lower() == name]
        value = (exact or other or [None])[-1]
        if value is not None:
            found[name] = fitted(kind, mended(value))
    return found


@given(documents(lambda name: FITTING.get(name, VALUES)) | documents(lambda _: VALUES))
@settings(max_examples=300, deadline=None)
def test_decoding_is_that_of_the_contract(pairs: list[tuple[str, Any]]) -> None:
    """Keys, null, strict types, equal keys and surrogates, against a model of the rules."""
    try:
        expected = Model(**modelled(pairs))
    except Wrong:
        with pytest.raises(InvalidTask):
            decode(written(pairs), Model)
        return
    assert decode(written(pairs), Model) == expected


@given(documents(lambda name: FITTING.get(name, VALUES)), st.sampled_from(["NaN", "Infinity", "-Infinity", "1e999"]))
def test_a_number_that_json_cannot_hold_is_refused_wherever_it_stands(pairs: list[tuple[str, Any]], word: str) -> None:
    for inner in (word, f"[{word}]", f'{{"x": {word}}}'):
        text = written(pairs)[:-1] + (", " if pairs else "") + f'"anything": {inner}}}'
        with pytest.raises(InvalidTask, match="args"):
            decode(text, Model)


@given(st.dictionaries(NAMES, TEMPLATES), TEMPLATES)
def test_substitution_goes_once_through(environment: dict[str, str], text: str) -> None:  # H8
    assert substitute(text, environment) == filled(text, environment)
    assert substitute("${NOT_THERE}", environment) == "${NOT_THERE}"
