"""The log spools keep their contract; and what becomes of the one on disk in trouble."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.spool.file import FileSpool
from adapters.spool.memory import MemorySpool
from adapters.spool.utf8 import cut_between_characters, repair
from adapters.testkit.spool_contract import CAP, SpoolContract, drain
from application.ports import LogSpool
from domain.errors import JournalError


class TestMemorySpool(SpoolContract):
    @pytest.fixture
    def spool(self) -> LogSpool:
        return MemorySpool(limit=CAP)

    def reopen(self, spool: LogSpool) -> LogSpool:
        assert isinstance(spool, MemorySpool)
        spool.take_over()
        return spool


class TestFileSpool(SpoolContract):
    @pytest.fixture
    def spool(self, tmp_path: Path) -> Iterator[LogSpool]:
        self._made = [made_in(tmp_path / "logs")]
        yield self._made[0]
        for made in self._made:
            made.close()

    def reopen(self, spool: LogSpool) -> LogSpool:
        self._made.append(made_in(self._made[0]._directory))
        return self._made[-1]


def made_in(directory: Path, quota: int = 10_000) -> FileSpool:
    return FileSpool(directory, limit=CAP, quota=quota)


@given(st.binary(max_size=300), st.lists(st.integers(1, 9), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_bytes_in_any_slices_give_the_same_text(data: bytes, cuts: list[int]) -> None:  # G39
    out, rest, at, turn = b"", b"", 0, 0
    while at < len(data):
        step = cuts[turn % len(cuts)]
        text, rest = repair(rest + data[at : at + step], final=False)
        out, at, turn = out + text, at + step, turn + 1
    out += repair(rest, final=True)[0]
    assert out.decode() == data.decode("utf-8", "replace")


@given(st.text(max_size=50), st.integers(0, 60))
def test_a_cut_is_never_inside_a_character(text: str, limit: int) -> None:
    data = text.encode()
    cut = cut_between_characters(data, limit)
    assert cut <= max(limit, 0) or cut == len(data)
    data[:cut].decode()


def test_a_log_that_is_whole_in_the_end_has_no_mark(tmp_path: Path) -> None:  # G37
    spool = made_in(tmp_path / "logs")
    spool.open("t")
    spool.write("t", b"x" * 1500)
    spool.finish("t")
    assert drain(spool, "t", 5000) == b"x" * 1500


def test_the_head_of_a_log_ends_at_its_first_gap() -> None:  # G43
    spool = MemorySpool(limit=3)
    spool.open("t")
    for text in ("ab", "é", "c"):
        spool.write("t", text.encode())
    assert drain(spool, "t") == b"ab"


@pytest.mark.parametrize(("offset", "settled"), [(0, True), (3, True), (7, False)])
def test_what_a_crash_leaves_is_not_settled(tmp_path: Path, offset: int, settled: bool) -> None:  # G42
    """Also what was confirmed to its end, where it was not settled before."""
    first = made_in(tmp_path / "logs")
    first.open("t")
    first.write("t", b"one two")
    first.advance("t", offset, settled)
    first.close()
    second = made_in(tmp_path / "logs")
    assert second.pending() == ["t"]
    assert second.peek("t", 1).history.inherited()
    second.advance("t", 7, settled=False)
    assert not second.drained("t")
    second.discard("t")
    second.close()


def test_a_log_has_its_head_and_its_end(tmp_path: Path) -> None:  # G43
    spool = made_in(tmp_path / "logs")
    spool.open("t")
    spool.write("t", b"HEAD\n")
    for number in range(20_000):
        spool.write("t", f"line {number}\n".encode())
    spool.write("t", b"END\n")
    spool.finish("t")
    text = drain(spool, "t", 1 << 20)
    assert text.startswith(b"HEAD\n")
    assert text.endswith(b"END\n")
    assert len(text) < 70_000
    assert text.count(b"left out") == 1


def test_a_discarded_log_leaves_no_file(tmp_path: Path) -> None:
    spool = made_in(tmp_path)
    spool.open("t")
    spool.write("t", b"text")
    spool.discard("t")
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_position_costs_a_repeat_and_not_the_log(tmp_path: Path) -> None:
    first = made_in(tmp_path / "logs")
    first.open("t")
    first.write("t", b"text")
    first.advance("t", 2, settled=True)
    first.close()
    (tmp_path / "logs" / "t.pos").write_bytes(b"\0\0")
    second = made_in(tmp_path / "logs")
    second.open("t")
    assert second.peek("t", 100).data == b"text"
    second.close()


def test_a_log_that_cannot_be_opened_costs_the_log_and_not_the_task(tmp_path: Path) -> None:  # G7, G60
    spool = made_in(tmp_path / "logs")
    (tmp_path / "logs" / "t.log").mkdir()
    spool.open("t")
    spool.write("t", b"one\n")
    spool.finish("t")
    assert spool.drained("t")
    spool.close()


def test_a_log_that_nobody_asks_for_again_is_delivered_after_a_restart(tmp_path: Path) -> None:  # G38, G42
    """Its task was settled while the server took no logs: no journal entry leads to it any more."""
    before = made_in(tmp_path)
    before.open("t")
    before.write("t", b"one\ntwo\n")
    before.finish("t")
    before.advance("t", 4, settled=True)
    before.close()
    after = made_in(tmp_path)
    assert after.pending() == ["t"]
    assert after.finished("t")
    piece = after.peek("t", 10)
    assert (piece.offset, piece.data, piece.ended, piece.history.inherited()) == (4, b"two\n", True, True)
    after.advance("t", 8, settled=False)
    assert not after.drained("t")
    after.advance("t", 8, settled=True)
    assert after.drained("t")
    assert list(tmp_path.iterdir()) == []


def test_what_a_previous_run_had_delivered_is_cleared_away(tmp_path: Path) -> None:  # G43
    for name in ("delivered.pos", "empty.log"):
        (tmp_path / name).touch()
    assert made_in(tmp_path).pending() == []
    assert list(tmp_path.iterdir()) == []


def test_logs_that_wait_hold_no_descriptors(tmp_path: Path) -> None:  # G41, G60
    spool = made_in(tmp_path, quota=1_000_000)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        spool.open(str(number))
        spool.write(str(number), b"line\n")
        spool.finish(str(number))
    assert len(os.listdir("/proc/self/fd")) == before
    assert {spool.peek(str(number), 10).data for number in range(50)} == {b"line\n"}


def test_the_quota_holds_for_many_logs(tmp_path: Path) -> None:  # G43
    spool = made_in(tmp_path, quota=20_000)
    for number in range(100):
        spool.open(str(number))
        spool.write(str(number), b"x" * 1000)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) <= 20_000
    spool.discard("0")
    spool.write("99", b"x" * 1000)
    assert spool.peek("99", 1000).data == b"", "what follows a gap is no head"
    spool.open("later")
    spool.write("later", b"x" * 1000)
    assert len(spool.peek("later", 1000).data) == 1000
    spool.close()


def test_a_log_whose_file_is_gone_holds_nothing_up(tmp_path: Path) -> None:  # G41
    spool = made_in(tmp_path)
    spool.open("t")
    spool.write("t", b"line\n")
    spool.finish("t")
    (tmp_path / "t.log").unlink()
    assert spool.peek("t", 10).data == b""
    assert spool.drained("t")


def test_a_directory_that_cannot_be_used_is_told_by_name(tmp_path: Path) -> None:  # G9
    (tmp_path / "logs").touch()
    with pytest.raises(JournalError, match=f"logs cannot be kept in {tmp_path}/logs: "):
        made_in(tmp_path / "logs")
