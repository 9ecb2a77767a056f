"""What of a long answer goes into a task's output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.runners.output import ROOM, TEXT, beginning, first, shortened, size

LONG = st.builds(lambda part, times: part * times, st.text(min_size=1, max_size=8), st.integers(1, 20_000))


@given(LONG)
def test_a_text_fits_and_a_short_one_stays(text: str) -> None:
    for cut in (beginning(text), shortened(text)):
        assert size(cut) <= ROOM + size("... (truncated)")
    if len(text.encode("utf-8", "replace")) <= TEXT and size(text) <= ROOM:
        assert beginning(text) == shortened(text) == text


@given(st.lists(st.text(max_size=50)), st.integers(0, 500))
def test_as_many_items_as_there_is_room_for(items: list[str], room: int) -> None:
    found = first(items, room)
    assert found == items[: len(found)]
    assert sum(map(size, found)) <= room
    assert len(found) == len(items) or sum(map(size, items[: len(found) + 1])) > room
