"""The fields of a schedule text."""

from __future__ import annotations

import pytest

from adapters.local.fields import ALIASES, split
from domain.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "fields", "years"),
    [
        ("5 4 * * *", "0 5 4 * * *", None),
        ("30 5 4 * * *", "30 5 4 * * *", None),
        ("  5   4 ? * ?  ", "0 5 4 * * *", None),
        ("@Daily", "0 0 0 * * *", None),
        ("0 0 0 1 1 * *", "0 0 0 1 1 *", None),
        ("0 0 0 1 1 * 2026", "0 0 0 1 1 *", {2026}),
        ("0 0 0 1 1 * 2026,2028-2030", "0 0 0 1 1 *", {2026, 2028, 2029, 2030}),
        ("0 0 0 1 1 * 2026-2030/2", "0 0 0 1 1 *", {2026, 2028, 2030}),
        ("0 0 0 1 1 * */50", "0 0 0 1 1 *", {1970, 2020, 2070}),
        ("5-5/10 * * * *", "0 5 * * * *", None),
    ],
)
def test_any_of_the_known_forms_becomes_six_fields_and_years(text: str, fields: str, years: set[int] | None) -> None:
    assert split(text) == (fields, None if years is None else frozenset(years))


@pytest.mark.parametrize("alias", ALIASES)
def test_every_alias_is_a_schedule(alias: str) -> None:
    fields, years = split(alias)
    assert len(fields.split()) == 6
    assert years is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 fields: 5, 6"),
        ("* * * *", "has 4 fields"),
        ("@daly", "did you mean '@daily'"),
        ("@reboot", "known are @annually, "),
        ("60 * * * *", "has a minute that is not understood, '60': it takes 0 to 59"),
        ("* 24 * * *", "has a hour that is not understood"),
        ("* * * 13 *", "has a month that is not understood"),
        ("* * * * mon-8", "has a day-of-week that is not understood"),
        ("* * 31 2 *", "no month '2' has a day '31'"),
        ("*/61 * * * *", "has a step in its minute, '*/61', that is longer than the 60 values"),
        ("* */99999 * * *", "has a step in its hour"),
        ("0 0 0 1 1 * 1969", "has a year that is not understood, '1969'"),
        ("0 0 0 1 1 * 2030-2026", "has a year that is not understood"),
        ("0 0 0 1 1 * 2026/0", "has a year that is not understood"),
        ("0 0 0 1 1 * \u0662\u0660\u0662\u0666", "has a year that is not understood"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_be_right(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as told:
        split(text)
    assert str(told.value).startswith(f"time {text!r} ")
    assert reason in str(told.value)
