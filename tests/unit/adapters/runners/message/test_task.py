"""What a credential of a message task must hold."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.runners.message.task import CATEGORY, WEBHOOKS, number_of, text_of
from domain.errors import InvalidTask


def test_every_kind_of_message_has_its_kind_of_credential() -> None:
    assert set(CATEGORY) == {"email", "wechat_work", *WEBHOOKS}
    assert {CATEGORY[kind] for kind in WEBHOOKS} == {"webhook"}


@pytest.mark.parametrize("value", [{}, {"a": ""}, {"a": None}, {"a": 7}])
def test_a_text_that_is_not_there_is_told_by_its_key(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match="the credential has no a"):
        text_of(value, "a")
    assert text_of({"a": "x"}, "a") == "x"


@pytest.mark.parametrize(("value", "number"), [({}, 587), ({"a": 25}, 25), ({"a": "465"}, 465), ({"a": " 25 "}, 25)])
def test_a_number_may_have_been_stored_as_text(value: dict[str, Any], number: int) -> None:  # M2
    assert number_of(value, "a", 587) == number


@pytest.mark.parametrize("value", ["x", "", None, [], "1.5"])
def test_what_is_no_number_is_told_by_its_key_and_not_shown(value: Any) -> None:
    with pytest.raises(InvalidTask, match=r"^the credential's a is not a number$"):
        number_of({"a": value}, "a", 587)
