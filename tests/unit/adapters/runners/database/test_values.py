"""Values of the databases as JSON holds them."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql.constants import FIELD_TYPE

from adapters.runners.database.values import DEEPEST, from_json, mysql_conversions, plain


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (None, None), (True, True), (2**80, 2**80), (1.5, 1.5), (float("inf"), "inf"), (float("nan"), "nan"),
        (Decimal("1E-7"), "0.0000001"), (Decimal("10.50"), "10.50"), (b"caf\xc3\xa9", "café"), (b"\xff", "base64:/w=="),
        (memoryview(b"x"), "x"), (date(2024, 2, 29), "2024-02-29"), ((1, b"x"), [1, "x"]), ({1: Decimal(2)}, {"1": "2"}),
    ],
    ids=lambda it: type(it).__name__,
)  # fmt: skip
def test_a_value_is_exact_or_text(value: Any, held: Any) -> None:
    assert plain(value) == held
    json.dumps(plain(value), allow_nan=False)


@given(st.binary())
def test_no_byte_is_lost(data: bytes) -> None:
    held = plain(data)
    if held.startswith("base64:"):
        import base64

        assert data in (base64.b64decode(held[7:]), held.encode())
    else:
        assert held.encode() == data


def test_a_number_that_no_double_holds_stays_its_digits() -> None:
    assert from_json('{"a": 0.1, "b": 1234567890.123456789, "c": 9007199254740993}') == {
        "a": 0.1, "b": "1234567890.123456789", "c": 9007199254740993,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "1" * 5000, 7, None])
def test_what_python_has_no_such_value_for_stays_as_it_came(text: Any) -> None:
    assert from_json(text) == text


def test_many_brackets_that_are_not_deep_are_read() -> None:
    assert from_json("[" + "[]," * DEEPEST + "[]]") == [[]] * (DEEPEST + 1)


def test_a_time_of_mysql_stays_text_and_bits_are_a_number() -> None:
    found = mysql_conversions()
    assert FIELD_TYPE.TIME not in found
    assert found[FIELD_TYPE.BIT](b"\x01\x02") == 258
    assert FIELD_TYPE.DATE in found
