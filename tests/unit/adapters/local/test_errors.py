"""The store's errors as those of the ports."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from adapters.local.errors import as_lost, as_unavailable
from domain.errors import ConnectionLost, JournalError, NotFound, Unavailable


@pytest.mark.parametrize(("translated", "to"), [(as_lost(), ConnectionLost), (as_unavailable(), Unavailable)])
def test_a_history_that_cannot_be_used_is_told_in_the_words_of_the_port(
    translated: AbstractContextManager[None], to: type[Exception]
) -> None:
    with pytest.raises(to, match="the disk is full") as told, translated:
        raise JournalError("the disk is full")
    assert isinstance(told.value.__cause__, JournalError)


@pytest.mark.parametrize("error", [NotFound("x"), ValueError("x"), KeyboardInterrupt("x")])
def test_any_other_error_stays_what_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as told, as_unavailable():
        raise error
    assert told.value is error


def test_where_nothing_is_wrong_nothing_happens() -> None:
    with as_lost(), as_unavailable():
        pass
