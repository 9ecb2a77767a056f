"""What every log spool promises: subclass ``SpoolContract`` in a test module of yours."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.testkit.promises import LIMIT, kept
from application.ports import LogSpool

CAP = 1000


def drain(spool: LogSpool, task_id: str, step: int = 7) -> bytes:
    """Deliver a log, ``step`` bytes a piece."""
    out = b""
    while data := (piece := spool.peek(task_id, step)).data:
        assert piece.offset == len(out), f"a piece stands at {piece.offset} and not at {len(out)}"
        out += data
        spool.advance(task_id, piece.end, settled=True)
    return out


class SpoolContract:
    """``durable`` is False for a spool that ends with its process."""

    durable = True

    @pytest.fixture
    def spool(self) -> Iterator[LogSpool]:
        """Write this one: an empty spool for each test, with a cap of ``CAP`` bytes for a log."""
        raise NotImplementedError("give the fixture 'spool'")

    def reopen(self, spool: LogSpool) -> LogSpool:
        """Open again what ``spool`` kept, as the next run of a worker does; the run before it was killed."""
        raise NotImplementedError("write 'reopen', or say durable = False")

    def test_what_is_written_comes_out_in_order(self, spool: LogSpool) -> None:
        spool.open("t")
        spool.write("t", b"one\n")
        spool.write("t", b"two\n")
        kept(list(spool.pending()) == ["t"], "LogSpool.pending names what waits", f"it names {spool.pending()}")
        out = drain(spool, "t")
        kept(out == b"one\ntwo\n", "a log comes out as it was written", f"came {out!r}")
        kept(not spool.drained("t"), "a log that is not finished is not drained", "it is")
        spool.finish("t")
        kept(spool.drained("t"), "a log that is finished and delivered is drained", "it is not")

    def test_an_unknown_log_is_drained(self, spool: LogSpool) -> None:
        kept(spool.drained("nobody"), "LogSpool.drained is True for a log that nobody knows", "it is False")
        data = spool.peek("nobody", 10).data
        kept(data == b"", "a log that nobody knows is empty", f"it has {data!r}")
        spool.write("nobody", b"text")
        spool.finish("nobody")
        spool.advance("nobody", 3, settled=True)
        spool.discard("nobody")
        kept(not spool.pending(), "nothing is begun but by LogSpool.open", f"it has {spool.pending()}")

    def test_a_piece_is_cut_between_characters(self, spool: LogSpool) -> None:
        spool.open("t")
        spool.write("t", "\u65e5\u672c\u8a9e".encode())
        data = spool.peek("t", 4).data
        kept(data == "\u65e5".encode(), "LogSpool.peek cuts between characters", f"came {data!r}")

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(st.lists(st.binary(max_size=30), max_size=8))
    def test_any_bytes_come_out_as_text(self, spool: LogSpool, pieces: list[bytes]) -> None:
        spool.open("t")
        for data in pieces:
            spool.write("t", data)
        spool.finish("t")
        out, wanted = drain(spool, "t"), b"".join(pieces).decode("utf-8", "replace")
        kept(
            out.decode() == wanted, "any bytes come out as UTF-8, in any slices the same", f"of {wanted!r} came {out!r}"
        )
        kept(spool.drained("t"), "a log that is finished and delivered is drained", "it is not")

    def test_past_the_cap_the_missing_part_is_marked(self, spool: LogSpool) -> None:
        spool.open("t")
        for _ in range(100):
            spool.write("t", b"x" * 99 + b"\n")
        spool.finish("t")
        text = drain(spool, "t", 5000)
        whole = text == (b"x" * 99 + b"\n") * 100
        kept(whole or b"left out" in text, "past the cap of a log the cut is marked", f"it ends with {text[-60:]!r}")

    def test_a_piece_tells_whether_the_log_ends_with_it(self, spool: LogSpool) -> None:
        spool.open("t")
        spool.write("t", b"one two")
        kept(not spool.peek("t", 9).ended, "a piece has not ended while more may come", "it has")
        spool.finish("t")
        kept(not spool.peek("t", 3).ended, "a piece has not ended before the last one", "it has")
        kept(spool.peek("t", 9).ended, "the last piece of a finished log has ended", "it has not")
        kept(spool.finished("t"), "LogSpool.finished is True until all is delivered", "it is False")

    def test_a_log_that_is_not_settled_is_kept_whole(self, spool: LogSpool) -> None:
        """It may have to be put right with all of its text."""
        spool.open("t")
        spool.write("t", b"one two")
        spool.advance("t", 7, settled=False)
        kept(not spool.pending(), "a log that is delivered so far waits until more comes", f"it has {spool.pending()}")
        spool.finish("t")
        piece = spool.peek("t", 9)
        came = (list(spool.pending()), spool.drained("t"), piece.offset, piece.data, piece.ended)
        kept(
            came == (["t"], False, 7, b"", True),
            "a finished log that is not settled comes again as an empty piece at its end",
            f"pending, drained, offset, data and ended are {came}",
        )
        text = piece.history.text()
        kept(text == b"one two", "LogHistory.text gives all of it until it is settled", f"it gives {text!r}")
        spool.advance("t", 7, settled=True)
        kept((list(spool.pending()), spool.drained("t")) == ([], True), "what is settled is forgotten", "it is not")

    def test_a_mark_is_remembered(self, spool: LogSpool) -> None:
        spool.open("t")
        spool.write("t", b"abc")
        kept(spool.peek("t", 9).history.mark() == "", "a mark is empty in the beginning", "it is not")
        spool.peek("t", 9).history.remember("42")
        mark = spool.peek("t", 9).history.mark()
        kept(mark == "42", "LogHistory.mark is what was remembered", f"it is {mark!r}")

    def test_a_position_may_be_set_back(self, spool: LogSpool) -> None:
        """Where the server lost what it had."""
        spool.open("t")
        spool.write("t", b"one two")
        spool.advance("t", 7, settled=False)
        spool.advance("t", 3, settled=True)
        piece = spool.peek("t", 9)
        came = (piece.offset, piece.data)
        kept(came == (3, b" two"), "LogSpool.advance takes any offset, also one before", f"came {came}")

    def test_a_log_goes_on_behind_what_waits_of_it(self, spool: LogSpool) -> None:
        for text in (b"one\n", b"two\n"):
            spool.open("t")
            spool.write("t", text)
            spool.finish("t")
        data = spool.peek("t", 100).data
        kept(data in (b"one\ntwo\n",), "LogSpool.open goes on behind what waits", f"came {data!r}")

    def test_a_discarded_log_is_gone(self, spool: LogSpool) -> None:
        spool.open("t")
        spool.write("t", b"text")
        for _ in range(2):
            spool.discard("t")
        kept(not spool.pending() and spool.drained("t"), "LogSpool.discard forgets a log", f"it has {spool.pending()}")

    def test_eight_writers_at_once_mix_nothing(self, spool: LogSpool) -> None:
        names = [f"t{number}" for number in range(8)]

        def write(name: str) -> None:
            spool.open(name)
            for _ in range(10):
                spool.write(name, f"{name}\n".encode())
            spool.finish(name)

        threads = [threading.Thread(target=write, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        for name in names:
            out = drain(spool, name)
            kept(out == f"{name}\n".encode() * 10, "any thread may write its log", f"for {name} came {out!r}")

    def test_the_rest_of_a_log_is_there_after_a_restart(self, spool: LogSpool) -> None:
        if not self.durable:
            pytest.skip("this spool ends with its process: durable is False")
        spool.open("t")
        spool.write("t", b"before ")
        spool.peek("t", 9).history.remember("5")
        spool.advance("t", 7, settled=True)
        spool.write("t", b"after")
        again = self.reopen(spool)
        kept("t" in again.pending(), "LogSpool.pending names what a previous run left", f"it has {again.pending()}")
        piece = again.peek("t", 100)
        came = (piece.offset, piece.data, piece.history.mark(), piece.history.inherited())
        kept(
            came == (7, b"after", "5", True),
            "a log goes on after a restart where it was, with its mark, and says that it is inherited",
            f"offset, data, mark and inherited are {came}",
        )
        again.discard("t")
