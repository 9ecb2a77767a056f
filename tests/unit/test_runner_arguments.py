"""Decoding of args: what tasks defined for the original rely on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.arguments import decode, substitute
from domain.errors import InvalidTask


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


@given(st.dictionaries(st.text("ABab_9", min_size=1), st.text()), st.text("${}AB a"))
def test_substitution_is_one_pass_and_leaves_unknown_names(environment: dict[str, str], text: str) -> None:
    assert substitute("$x ${NOT_THERE}" + text.replace("$", ""), environment).startswith("$x ${NOT_THERE}")
    for name, value in environment.items():
        assert substitute("${" + name + "}", environment) == value
