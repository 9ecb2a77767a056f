"""The request that a task asks for."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.http.request import fill
from tests.support.templates import NAMES, TEMPLATES, filled

BODIES = st.recursive(
    TEMPLATES | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEMPLATES, inner, max_size=3),
    max_leaves=6,
)


@given(BODIES, st.dictionaries(NAMES, TEMPLATES))
def test_strings_of_a_body_are_filled_and_its_keys_stay(body: Any, environment: dict[str, str]) -> None:  # H8
    def walked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walked(item) for item in value]
        return filled(value, environment) if isinstance(value, str) else value

    assert fill(body, environment) == walked(body)
