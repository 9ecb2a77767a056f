"""The supervisor with real processes; /proc is the oracle for survivors."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import signal
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.process.child import PIPE
from adapters.process.pace import TRICKLE
from adapters.process.ports import Command, Exit
from adapters.process.spawn import spawn
from adapters.process.supervisor import Supervisor
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, Urgency
from tests.support import trees
from tests.support.livelog import Log

STOP = CancelRequest(EndReason.STOPPED)
KILL = CancelRequest(EndReason.KILLED, Urgency.NOW)
LEASE_LOST = CancelRequest(EndReason.LEASE_LOST, Urgency.NOW)


def shell(text: str, **fields: object) -> Command:
    given = {"grace": 0.3, "cwd": None, "environment": dict(os.environ)} | fields
    return Command(["bash", "-c", text], **given)  # type: ignore[arg-type]


def run(processes: Supervisor, text: str, **fields: object) -> Exit:
    return processes.run(shell(text, **fields), CancelToken())


ENDINGS = {
    "end": EndReason.EXIT_CODE,
    "stop": EndReason.STOPPED,
    "kill": EndReason.KILLED,
    "time-out": EndReason.TIMEOUT,
    "lease lost": EndReason.LEASE_LOST,
}


@pytest.mark.parametrize(("shape", "ending"), list(itertools.product(trees.SHAPES, ENDINGS)))
def test_no_process_of_a_tree_survives(
    processes: Supervisor, shape: str, ending: str, tmp_path: Path
) -> None:  # G23, C2
    mark, log, token = str(uuid.uuid4().int)[:12], Log(), CancelToken()
    text = trees.program(shape, mark)
    if ending == "end":  # the shell ends by itself and leaves the rest behind
        text = f"( {text} ) & while [ ! -e {tmp_path}/up ]; do sleep 0.02; done; exit 5"
    results: list[Exit] = []

    def once(timeout: float | None) -> Exit:
        return processes.run(shell(text, log=log, timeout=timeout), token)

    def until_the_tree_stands() -> Exit:
        """A machine that does much else may not get that far in the first time-outs."""
        return next(ended for ended in map(once, (0.4, 2.0, 10.0, 60.0)) if b"READY" in log.data)

    run_it = until_the_tree_stands if ending == "time-out" else lambda: once(None)
    thread = threading.Thread(target=lambda: results.append(run_it()))
    thread.start()
    if ending != "time-out":
        log.wait_for(b"READY")
    if ending == "end":
        (tmp_path / "up").touch()
    elif ending == "stop":
        token.cancel(STOP)
    elif ending == "kill":
        token.cancel(KILL)
    elif ending == "lease lost":
        token.cancel(LEASE_LOST)
    thread.join(90)
    assert trees.alive(mark) == []
    assert results[0].reason is ENDINGS[ending]


def test_a_background_process_that_holds_the_pipe_delays_nothing(processes: Supervisor) -> None:  # G28
    began = time.monotonic()
    ended = run(processes, "sleep 300 & exit 3")
    assert (ended.reason, ended.exit_code) == (EndReason.EXIT_CODE, 3)
    assert time.monotonic() - began < 60  # it would be 300


@pytest.mark.parametrize("code", [0, 1, 2, 77, 126, 127, 128, 137, 255])
def test_an_exit_code_is_told_as_it_is(processes: Supervisor, code: int) -> None:  # G29
    ended = run(processes, f"exit {code}")
    assert (ended.exit_code, ended.signal) == (code, 0)
    assert ended.error == (f"exit status {code}" if code else "")


@pytest.mark.parametrize(
    ("number", "text"),
    [(signal.SIGTERM, "terminated"), (signal.SIGKILL, "killed"), (signal.SIGSEGV, "segmentation fault")],
)
def test_a_foreign_signal_is_no_time_out(processes: Supervisor, number: int, text: str) -> None:  # C3
    ended = run(processes, f"kill -{int(number)} $$", timeout=60)
    assert (ended.reason, ended.exit_code, ended.error) == (EndReason.SIGNAL, 128 + number, f"signal: {text}")


def test_what_cannot_start_says_why(processes: Supervisor, tmp_path: Path) -> None:  # G29
    plain = tmp_path / "plain"
    plain.write_text("text")
    bad = tmp_path / "bad"
    bad.write_text("#!/no/such/interpreter\n")
    bad.chmod(0o755)
    environment = dict(os.environ)
    cases = [
        (Command(["no-such-program"], None, environment), EndReason.NOT_FOUND, 127),
        (Command([str(plain)], None, environment), EndReason.NOT_EXECUTABLE, 126),
        (Command([str(bad)], None, environment), EndReason.NOT_FOUND, 127),
        (Command(["true"], tmp_path / "missing", environment), EndReason.NO_SUCH_DIRECTORY, -1),
        (Command(["true", "x" * 3_000_000], None, environment), EndReason.SPAWN_FAILED, -1),
        (Command(["true", "a\0b"], None, environment), EndReason.SPAWN_FAILED, -1),
    ]
    for command, reason, code in cases:
        ended = processes.run(command, CancelToken())
        assert (ended.reason, ended.exit_code) == (reason, code)
        assert ended.error


def test_a_stop_before_the_start_starts_nothing(processes: Supervisor, tmp_path: Path) -> None:  # C6
    token = CancelToken()
    token.cancel(STOP)
    ended = processes.run(shell(f"touch {tmp_path}/witness"), token)
    assert ended.reason is EndReason.STOPPED
    assert not (tmp_path / "witness").exists()


def test_a_stop_at_any_moment_around_the_start_is_honoured(processes: Supervisor) -> None:  # G26
    for step in range(20):
        token = CancelToken()
        timer = threading.Timer(step / 2000, token.cancel, (STOP,))
        timer.start()
        ended = processes.run(shell("sleep 300"), token)
        timer.join()
        assert ended.reason is EndReason.STOPPED


def test_a_stop_escalates_after_the_grace(processes: Supervisor) -> None:  # G25
    token, log = CancelToken(), Log()
    timer = threading.Thread(target=lambda: (log.wait_for(b"on"), token.cancel(STOP)))
    timer.start()
    began = time.monotonic()
    ended = processes.run(shell("trap '' TERM; echo on; while :; do sleep 0.1; done", log=log), token)
    timer.join()
    assert (ended.reason, ended.signal) == (EndReason.STOPPED, signal.SIGKILL)
    assert time.monotonic() - began >= 0.3


def test_an_end_before_the_stop_counts_as_it_was(processes: Supervisor) -> None:
    token = CancelToken()
    ended = processes.run(shell("exit 7"), token)
    token.cancel(STOP)
    assert ended.reason is EndReason.EXIT_CODE


def test_output_is_live_in_order_and_apart(processes: Supervisor) -> None:  # C10
    log = Log()
    ended = run(processes, "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three", log=log)
    assert log.data == b"one\ntwo\nthree\n"
    assert (ended.stdout, ended.stderr) == (b"one\nthree\n", b"two\n")


def test_a_line_without_its_end_is_shown_soon(processes: Supervisor) -> None:
    log, token = Log(), CancelToken()
    thread = threading.Thread(target=lambda: processes.run(shell("printf prompt; sleep 300", log=log), token))
    thread.start()
    log.wait_for(b"prompt")
    token.cancel(KILL)
    thread.join(5)


def test_a_flood_is_cut_in_the_middle_and_costs_no_memory(processes: Supervisor) -> None:
    ended = run(processes, "echo HEAD; yes | head -c 50000000; echo TAIL", keep=10_000)
    assert ended.stdout.startswith(b"HEAD\n")
    assert ended.stdout.endswith(b"TAIL\n")
    assert len(ended.stdout) < 10_100
    assert ended.stdout_cut > 49_000_000


def test_standard_input_is_what_was_given_or_nothing(processes: Supervisor) -> None:
    assert run(processes, "cat", stdin=b"x" * 300_000, keep=1 << 20).stdout == b"x" * 300_000
    assert run(processes, "cat").stdout == b""


def test_the_child_starts_clean(processes: Supervisor, tmp_path: Path) -> None:  # G33
    with open("/dev/null") as spare:
        os.set_inheritable(spare.fileno(), True)  # what some library may do
        ended = run(processes, "ls -l /proc/self/fd | wc -l; readlink /proc/$$/fd/0; cut -d' ' -f5 /proc/$$/stat; echo $$; pwd",
                    cwd=tmp_path)  # fmt: skip
        status = processes.run(Command(["cat", "/proc/self/status"], None, dict(os.environ)), CancelToken())
    descriptors, stdin, group, pid, directory = ended.stdout.split()
    assert int(descriptors) == 5  # total, 0, 1, 2 and ls's own directory
    assert (stdin, group, directory) == (b"/dev/null", pid, bytes(tmp_path))
    fields = dict(line.split(b":\t", 1) for line in status.stdout.splitlines())
    # SIGPIPE too; 32 and 33 are the C library's own, which what starts programs by posix_spawn (make) leaves ignored.
    internal = 3 << 31
    assert {int(fields[name], 16) & ~internal for name in (b"SigIgn", b"SigBlk", b"SigCgt", b"SigPnd")} == {0}


def test_what_cannot_be_seen_is_not_taken_for_gone(processes: Supervisor, mocker: MockerFixture) -> None:  # G60
    mark, look = str(uuid.uuid4().int)[:12], os.listdir
    refusals = iter([OSError(errno.EMFILE, os.strerror(errno.EMFILE))] * 3)

    def few_descriptors(path: str = ".") -> list[str]:
        for refusal in refusals:
            raise refusal
        return look(path)

    mocker.patch.object(os, "listdir", few_descriptors)
    ended = run(processes, f"( setsid sleep 1000.{mark} >/dev/null 2>&1 & ); exit 7")
    assert (ended.exit_code, trees.alive(mark)) == (7, [])


def test_orphans_are_reaped(processes: Supervisor) -> None:  # G24
    before = _children()  # of other tests: what a library of this program starts is not the supervisor's to reap
    for _ in range(20):
        run(processes, "for i in 1 2 3 4 5; do (true &) ; done")
    orphans = [pid for pid in _children() if pid not in before]
    states = [Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in orphans if Path(f"/proc/{pid}/stat").exists()]
    assert "Z" not in states


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_many_at_once(processes: Supervisor) -> None:
    results: list[Exit] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(run(processes, f"sleep 0.2; exit {n}"))) for n in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(it.exit_code for it in results) == list(range(40))


def test_one_task_s_hidden_daemon_is_not_taken_for_another_s(processes: Supervisor) -> None:
    mark, log, token = str(uuid.uuid4().int)[:12], Log(), CancelToken()
    keeper = threading.Thread(target=lambda: processes.run(shell("echo up; sleep 300", log=log), token))
    keeper.start()
    log.wait_for(b"up")
    run(processes, f"( env -i setsid sleep 1000.{mark} >/dev/null 2>&1 & ); sleep 0.1")
    token.cancel(KILL)
    keeper.join(5)
    assert trees.alive(mark) == []


@pytest.mark.parametrize("seconds", [2_147_484, 2_592_000, 1e10, 1e300], ids=["32 bits", "30 days", "1e10", "1e300"])
def test_a_limit_may_be_as_long_as_it_likes(processes: Supervisor, seconds: float) -> None:
    log, token = Log(), CancelToken()
    thread = threading.Thread(target=processes.run, args=(shell("echo up; sleep 300", log=log, timeout=seconds), token))
    thread.start()
    log.wait_for(b"up")
    assert run(processes, "exit 7", timeout=seconds).exit_code == 7
    assert run(processes, "sleep 300", timeout=0.1, grace=seconds).reason is EndReason.TIMEOUT
    token.cancel(STOP)
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def mortal() -> Iterator[tuple[Supervisor, Callable[[], None]]]:
    """A supervisor, and what makes its thread die at its next turn."""
    made = Supervisor()

    def die() -> None:
        made._timers.pause = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        made._post(lambda: None)

    yield made, die
    made.close()


def test_when_the_supervision_dies_all_it_ran_ends_and_somebody_hears_of_it(
    mortal: tuple[Supervisor, Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    processes, die = mortal
    mark, log, heard, results = str(uuid.uuid4().int)[:12], Log(), list[BaseException](), list[Exit]()
    processes.when_dead(heard.append)
    command = shell(trees.program("daemon", mark), log=log)
    thread = threading.Thread(target=lambda: results.append(processes.run(command, CancelToken())))
    thread.start()
    log.wait_for(b"READY")
    die()
    thread.join(10)
    assert (results[0].reason, trees.alive(mark)) == (EndReason.INTERNAL, [])
    assert "ZeroDivisionError" in results[0].error
    late = run(processes, "echo up")
    assert (late.reason, late.stdout) == (EndReason.INTERNAL, b"")
    processes.close()
    assert [type(error) for error in heard] == [ZeroDivisionError]
    assert "supervision of processes died" in caplog.text


def test_a_start_that_meets_the_death_of_the_supervision_ends_too(
    mortal: tuple[Supervisor, Callable[[], None]], mocker: MockerFixture
) -> None:
    processes, die = mortal
    run(processes, "true")

    def spawn_late(command: Command, owner: str) -> object:
        spawned = spawn(command, owner)
        die()
        assert processes._thread is not None
        processes._thread.join(10)
        return spawned

    mocker.patch("adapters.process.supervisor.spawn", spawn_late)
    mark = str(uuid.uuid4().int)[:12]
    ended = run(processes, f"sleep 1000.{mark}")
    assert (ended.reason, trees.alive(mark)) == (EndReason.INTERNAL, [])


def test_an_ended_process_leaves_nothing_in_memory(processes: Supervisor) -> None:
    """Its time-out is a day away; all that it printed was held until then. No collector is needed for it either."""
    gone: list[weakref.ref[Log]] = []
    gc.disable()
    try:
        for number in range(200):
            log = Log()
            gone.append(weakref.ref(log))
            run(processes, "printf 'no line end'; echo x >&2" if number % 2 else ":", log=log, timeout=86_400.0)
            del log
        _heard_of_all(processes)
        assert [it for it in gone if it() is not None] == []
    finally:
        gc.enable()
    assert len(processes._timers) < 150
    assert not processes._resting
    assert not processes._strangers


def _heard_of_all(processes: Supervisor) -> None:
    """Wait until the supervisor's thread has done what was posted so far."""
    turned = threading.Event()
    processes._post(turned.set)
    assert turned.wait(10)


def test_a_stop_that_was_obeyed_leaves_nothing_of_its_grace(processes: Supervisor) -> None:
    run(processes, "sleep 300", timeout=0.01, grace=86_400.0)
    _heard_of_all(processes)
    assert [entry for entry in processes._timers._heap if entry[2].pending] == []


def test_orphans_that_are_gone_are_not_remembered(processes: Supervisor) -> None:
    for _ in range(3):
        run(processes, "( env -i setsid sleep 0.05 >/dev/null 2>&1 & ); sleep 0.1")
        run(processes, "true")
    run(processes, "( env -i setsid sleep 1000 >/dev/null 2>&1 & ); sleep 0.1")
    assert len(processes._strangers) <= 1


def test_a_task_that_prints_much_gets_a_larger_pipe_and_no_rest(processes: Supervisor, mocker: MockerFixture) -> None:
    rests = mocker.spy(processes._pace, "rest")
    assert run(processes, "head -c 20000000 /dev/zero").stdout_cut > 17_000_000
    assert max(call.args[2] for call in rests.call_args_list) == PIPE
    assert max(rests.spy_return_list) <= TRICKLE  # that is for what comes alone: the first piece, the last one


def test_an_orphan_that_hid_itself_and_left_its_group_ends_with_its_own_task(processes: Supervisor) -> None:
    """Its session tells whose it is, also while others run that it could belong to."""
    mark, log, token = str(uuid.uuid4().int)[:12], Log(), CancelToken()
    other = threading.Thread(target=lambda: processes.run(shell("echo up; sleep 300", log=log), token))
    other.start()
    log.wait_for(b"up")
    job = f"set -m; sleep 1000.{mark} >/dev/null 2>&1 & ps -o pgid= $!"
    ended = run(processes, f"echo $$; env -i PATH=$PATH bash -c '{job}'")
    leader, group = ended.stdout.split()
    assert leader != group
    assert trees.alive(mark) == []
    token.cancel(KILL)
    other.join(5)


def test_close_ends_what_still_runs(processes: Supervisor) -> None:
    log = Log()
    results: list[Exit] = []
    thread = threading.Thread(target=lambda: results.append(run(processes, "echo up; sleep 300", log=log)))
    thread.start()
    log.wait_for(b"up")
    processes.close()
    thread.join(5)
    assert results[0].reason is EndReason.SHUTDOWN
