"""What every log spool promises, on each of them."""

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
from application.ports import Batch, LogSpool
from domain.errors import JournalError


@pytest.fixture(params=["memory", "file"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogSpool]:
    if request.param == "memory":
        yield MemorySpool(limit=1000)
        return
    made = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    yield made
    made.close()


def drain(spool: LogSpool, task_id: str, step: int = 7) -> bytes:
    out = b""
    while data := (batch := spool.peek(task_id, step)).data:
        assert batch.offset == len(out)
        out += data
        spool.advance(task_id, batch.offset + len(data))
    return out


def test_what_is_written_comes_out_in_order(spool: LogSpool) -> None:
    spool.open("t")
    spool.write("t", b"one\n")
    spool.write("t", b"two\n")
    assert spool.pending() == ["t"]
    assert drain(spool, "t") == b"one\ntwo\n"
    assert not spool.drained("t")
    spool.finish("t")
    assert spool.drained("t")


def test_an_unknown_log_is_drained(spool: LogSpool) -> None:
    assert spool.drained("nobody")
    assert spool.peek("nobody", 10).data == b""


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


def test_a_batch_is_cut_between_characters(spool: LogSpool) -> None:
    spool.open("t")
    spool.write("t", "日本語".encode())
    assert spool.peek("t", 4).data.decode() == "日"


def test_past_the_cap_the_missing_part_is_marked(spool: LogSpool) -> None:  # G37
    spool.open("t")
    for _ in range(100):
        spool.write("t", b"x" * 99 + b"\n")
    spool.finish("t")
    text = drain(spool, "t", 5000)
    assert b"bytes of output left out" in text or len(text) >= 10_000


def test_a_log_that_is_whole_in_the_end_has_no_mark(tmp_path: Path) -> None:  # G37
    spool = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
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


def test_a_doubtful_log_is_kept_whole_until_it_is_trusted(spool: LogSpool) -> None:  # G38
    spool.open("t")
    spool.write("t", b"one two")
    spool.doubt("t")
    spool.advance("t", 7)
    assert spool.pending() == []  # more may come, and then it is looked at
    spool.finish("t")
    assert (spool.pending(), spool.drained("t"), spool.peek("t", 9)) == (["t"], False, Batch(7, None, b"", True))
    assert spool.text("t") == b"one two"
    spool.trust("t")
    assert (spool.pending(), spool.drained("t"), spool.text("t")) == ([], True, b"")


@pytest.mark.parametrize(("offset", "doubtful"), [(0, False), (3, False), (7, True)])
def test_what_a_crash_leaves_is_doubtful(tmp_path: Path, offset: int, doubtful: bool) -> None:  # G42
    """Also what was confirmed to its end, where it was doubtful before."""
    first = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    first.open("t")
    first.write("t", b"one two")
    if doubtful:
        first.doubt("t")
    first.advance("t", offset)
    first.close()
    second = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    assert second.pending() == ["t"]
    assert second.peek("t", 1).doubtful
    second.discard("t")
    second.close()


def test_the_base_is_remembered(spool: LogSpool) -> None:
    spool.open("t")
    spool.write("t", b"abc")
    assert spool.peek("t", 10).base is None
    spool.rebase("t", 42)
    assert spool.peek("t", 10).base == 42


def test_a_log_has_its_head_and_its_end(tmp_path: Path) -> None:  # G43
    spool = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
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


def test_the_rest_of_a_log_is_there_after_a_crash(tmp_path: Path) -> None:  # G42
    first = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    first.open("t")
    first.write("t", b"before ")
    first.rebase("t", 5)
    first.advance("t", 7)
    first.write("t", b"after")
    second = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    second.open("t")
    second.finish("t")
    batch = second.peek("t", 100)
    assert (batch.offset, batch.base, batch.data) == (7, 5, b"after")
    second.discard("t")
    first.close()
    assert list((tmp_path / "logs").iterdir()) == []


def test_an_unreadable_position_costs_a_repeat_and_not_the_log(tmp_path: Path) -> None:
    first = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    first.open("t")
    first.write("t", b"text")
    first.advance("t", 2)
    first.close()
    (tmp_path / "logs" / "t.pos").write_bytes(b"\0\0")
    second = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    second.open("t")
    assert second.peek("t", 100).data == b"text"
    second.close()


def test_a_log_that_cannot_be_opened_costs_the_log_and_not_the_task(tmp_path: Path) -> None:  # G7, G60
    spool = FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
    (tmp_path / "logs" / "t.log").mkdir()
    spool.open("t")
    spool.write("t", b"one\n")
    spool.finish("t")
    assert spool.drained("t")
    spool.close()


def test_a_log_that_nobody_asks_for_again_is_delivered_after_a_restart(tmp_path: Path) -> None:  # G38, G42
    """Its task was settled while the server took no logs: no journal entry leads to it any more."""
    before = FileSpool(tmp_path, limit=1000, quota=10_000)
    before.open("t")
    before.write("t", b"one\ntwo\n")
    before.finish("t")
    before.advance("t", 4)
    before.close()
    after = FileSpool(tmp_path, limit=1000, quota=10_000)
    assert after.pending() == ["t"]
    assert after.finished("t")
    assert after.peek("t", 10) == Batch(4, None, b"two\n", doubtful=True)
    after.advance("t", 8)
    assert not after.drained("t")
    after.trust("t")
    assert after.drained("t")
    assert list(tmp_path.iterdir()) == []


def test_what_a_previous_run_had_delivered_is_cleared_away(tmp_path: Path) -> None:  # G43
    for name in ("delivered.pos", "empty.log"):
        (tmp_path / name).touch()
    assert FileSpool(tmp_path, limit=1000, quota=10_000).pending() == []
    assert list(tmp_path.iterdir()) == []


def test_a_log_goes_on_behind_what_waits_of_it(spool: LogSpool) -> None:
    for text in (b"one\n", b"two\n"):
        spool.open("t")
        spool.write("t", text)
        spool.finish("t")
    assert spool.peek("t", 100).data == b"one\ntwo\n"


def test_logs_that_wait_hold_no_descriptors(tmp_path: Path) -> None:  # G41, G60
    spool = FileSpool(tmp_path, limit=1000, quota=1_000_000)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        spool.open(str(number))
        spool.write(str(number), b"line\n")
        spool.finish(str(number))
    assert len(os.listdir("/proc/self/fd")) == before
    assert {spool.peek(str(number), 10).data for number in range(50)} == {b"line\n"}


def test_the_quota_holds_for_many_logs(tmp_path: Path) -> None:  # G43
    spool = FileSpool(tmp_path, limit=1000, quota=20_000)
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
    spool = FileSpool(tmp_path, limit=1000, quota=10_000)
    spool.open("t")
    spool.write("t", b"line\n")
    spool.finish("t")
    (tmp_path / "t.log").unlink()
    assert spool.peek("t", 10).data == b""
    assert spool.drained("t")


def test_a_directory_that_cannot_be_used_is_told_by_name(tmp_path: Path) -> None:  # G9
    (tmp_path / "logs").touch()
    with pytest.raises(JournalError, match=f"logs cannot be kept in {tmp_path}/logs: "):
        FileSpool(tmp_path / "logs", limit=1000, quota=10_000)
