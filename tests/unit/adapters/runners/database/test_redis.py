"""Redis commands: what may be asked, and what comes back."""

from __future__ import annotations

import pytest

from adapters.runners.database.redis import check
from domain.errors import InvalidTask


@pytest.mark.parametrize(
    "words",
    [("EXPIRE", "k", "abc"), ("EXPIRE", "k", "10abc"), ("SET", "k", "v", "EX", "x"), ("SET", "k", "v", "EX"),
     ("LRANGE", "k", "a", "1"), ("SCAN", "0", "COUNT"), ("SCAN", "x"), ("CONFIG", "GET", "*"), ("GET",)],
)  # fmt: skip
def test_redis_arguments_that_do_not_fit_are_refused(words: tuple[str, ...]) -> None:
    """D4: a wrong number must not become 0."""
    with pytest.raises(InvalidTask):
        check(words[0], list(words[1:]))
