"""Deliberate defects, each put into a copy of the tree and each to be found by a test.

``python -m tests.support.mutants [NAME...]`` prints, for each, whether the tests went red. A defect that stays green
names a test that is missing. The working tree is never changed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORLD = "tests/system/test_simulated_world.py"
LEASES = "tests/unit/test_leases.py"
MEMORY = "tests/system/test_worker_on_memory.py"
CATEGORIES = "tests/system/test_categories.py"
PROCESSES = "tests/system/test_processes.py"
TIMING = "tests/unit/adapters/process/test_timers.py"
MACHINE = "tests/property/test_{}_machine.py"
VIRTUAL, SPOOL = "tests/unit/test_worker_in_virtual_time.py", "tests/contract/test_spool.py"
JOURNAL, LEASE, LOGS, LADDER, LINK = map(MACHINE.format, ("journal", "lease", "log", "ladder", "link"))
TROUBLE, COORDINATION = "tests/unit/test_logs_in_trouble.py", "tests/unit/adapters/apiserver"
BORDER, DELIVERY, INTAKE, LINE, ROLL = (
    f"tests/unit/application/test_{name}.py" for name in ("border", "delivery", "intake", "run_task", "roll")
)
LIMIT = 240


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = [
    Mutant("result counts as delivered when sent", "application/delivery.py", "if task is not None and self._is_settled(pending, task):", "if pending.sends and (self.settle(pending.report.task_id, ended=True) or True):", (WORLD, MEMORY)),
    Mutant("result is sent once only", "application/delivery.py", "if now >= pending.send_at and self._may_send(pending) and", "if not pending.sends and self._may_send(pending) and", (WORLD, MEMORY,)),
    Mutant("running is not read back", "application/announce.py", "            verdict = self._look(run, watch)\n", "            verdict = Announced.CONFIRMED\n", (WORLD, MEMORY,)),
    Mutant("a stale lock still announces", "application/announce.py", "if not self._leases.holds(run.task.id):", "if False:", (VIRTUAL,)),
    Mutant("lock released at once", "application/run_task.py", "        announced = self._steps.announcer.running(run)", "        self._steps.leases.release(run.task.id)\n        announced = self._steps.announcer.running(run)", (WORLD, MEMORY,)),
    Mutant("lease counted from the answer", "application/leases.py", "lease = Lease(offer.task.id, claim.token, ttl if claim.expires else inf, sent, on_lost)", "lease = Lease(offer.task.id, claim.token, ttl * 3, self._runtime.now(), on_lost)", (WORLD,)),
    Mutant("a lost lease ends nothing", "application/leases.py", "            lease.on_lost()\n", "            pass\n", (WORLD, MEMORY)),
    Mutant("a lost lock ends what its status protects", "application/leases.py", "return wanted == \"keep\" or (wanted == \"auto\" and self._claims.keeps_running)", "return False", (VIRTUAL, WORLD,)),
    Mutant("the lock of a running task is not given back", "application/leases.py", "ours = self._claims.settle(lease.task_id, lease.token, ATTEMPT)", "ours = True", (VIRTUAL, LEASES,)),
    Mutant("a lock that was not ours any more starts a task", "application/leases.py", "        return ours\n", "        return True\n", (VIRTUAL, LINE,)),
    Mutant("the lock goes before the server's time-out check is through", "application/leases.py", "            if hold:\n", "            if False:\n", (VIRTUAL,)),
    Mutant("a task is handed back without its lock", "application/delivery.py", "if self._roll is None or protected or self._leases.holds(task_id) or not self._uplink.link.up.is_set():", "if True:", (VIRTUAL,)),
    Mutant("what another worker runs goes on here", "application/recovery.py", "elif started and task.status", "elif False and task.status", (VIRTUAL,)),
    Mutant("a renewal under way sets a new deadline", "application/leases.py", "                if self._leases.get(lease.task_id) is lease:\n", "                if True:\n", (LEASES,)),
    Mutant("one failed renewal is for good", "application/leases.py", "            lease.retry_at = self._runtime.now() + min(1.0, max(0.0, lease.deadline - self._runtime.now()) / 4)\n", "            lease.retry_at = 1e18\n", (LEASES,)),
    Mutant("the event's copy is run, not the fresh one", "application/run_task.py", "if task.status is not Status.PENDING or task.ended or not", "if not", (WORLD, LINE,)),
    Mutant("a stop before the start is lost", "domain/runner.py", "        for request in tuple(self._requests):\n            subscriber(request)\n", "", ("tests/unit/test_domain.py",)),
    Mutant("a stop does not reach the runner", "application/execution.py", "        run.token.subscribe(relay)\n", "", (MEMORY,)),
    Mutant("a duplicate is admitted", "application/runs.py", "if offer.task.id in self._runs:\n                return Admission.DUPLICATE, None", "if False:\n                return Admission.DUPLICATE, None", (MEMORY, WORLD,)),
    Mutant("concurrency is not limited", "application/runs.py", "if self._active >= self.slots and not beyond:", "if False:", (INTAKE,)),
    Mutant("selection fails open", "domain/task.py", "        if chosen is None:\n            return False\n", "        if chosen is None:\n            return True\n", ("tests/unit/test_domain.py", "tests/unit/test_wire_messages.py")),
    Mutant("nothing is recovered", "application/recovery.py", "        for entry in self._disk.journal.entries():\n", "        for entry in ():\n", (WORLD,)),
    Mutant("a started task of a previous run is run again", "application/recovery.py", "report = self._lost(entry) if entry.started else", "report =", (WORLD,)),
    Mutant("the server's running tasks are not compared", "application/recovery.py", "            for task in listed:\n", "            for task in ():\n", (WORLD, "tests/unit/test_application_edges.py")),
    Mutant("a held end is overwritten by a canceled task's run", "application/recovery.py", "        if task.ended or task.status.is_final:\n", "        if False:\n", (MEMORY,)),
    Mutant("the log is sent again blindly", "adapters/apiserver/task_logs.py", "if known.doubtful and (known.torn or", "if False and (known.torn or", (LOGS,)),
    Mutant("a destroyed log stays destroyed", "adapters/apiserver/task_logs.py", "            taken = self._write_anew(piece, known, whole, len(ours))\n", "            taken = self._place(piece, known, others.base, len(ours))\n", (LOGS,)),
    Mutant("the connection is not given up in silence", "application/link.py", "if self._silence() > times.ping_interval + times.pong_timeout:", "if False:", (LINK, WORLD, "tests/contract/test_link_over_sockets.py",)),
    Mutant("the first refusal ends the link", "application/link.py", "            if connected is None:\n                continue\n", "            if connected is None:\n                return\n", ("tests/contract/test_link_over_sockets.py",)),
    Mutant("a loop that hangs is not found", "application/loops.py", "if now - turned > HANG", "if False", ("tests/unit/test_application_edges.py",)),
    Mutant("one slow renewal holds up all", "application/worker.py", "RENEWERS = 4", "RENEWERS = 1", (LEASES,)),
    Mutant("the server's wish for a pause is not heard", "application/link.py", "asked = error.retry_after if isinstance(error, (ConnectionRefused, Unavailable)) else None", "asked = None", (VIRTUAL,)),
    Mutant("the back-off never starts again", "application/link.py", "                self._backoff.reset()\n", "                pass\n", (VIRTUAL,)),
    Mutant("registering anew counts as a failure", "application/link.py", "        self._renewing = True\n", "", (VIRTUAL,)),
    Mutant("a teardown has no limit", "application/categories.py", "verdict.texts.teardown, int(left))", "verdict.texts.teardown, SCRIPT_LIMIT)", (CATEGORIES,)),
    Mutant("a superseded end is not told", "application/delivery.py", "        log.warning(\"superseded: the server already holds %s\", what, extra={\"task\": task_id})\n", "", (VIRTUAL, DELIVERY,)),
    Mutant("what was refused once waits a minute", "application/delivery.py", "RESEND[min(pending.refusals, len(RESEND) - 1)]", "RESEND[-1]", (VIRTUAL,)),
    Mutant("what is due soon is refused", "domain/task.py", "self.timeout_at + MOMENT <= now", "self.timeout_at - now < timedelta(seconds=2)", (VIRTUAL,)),
    Mutant("what is handed back counts as executed", "application/run_task.py", "self._tell(run, \"handed_back\")", "self._tell(run, \"executed\")", (VIRTUAL, LINE,)),
    Mutant("no jitter", "application/backoff.py", "self._runtime.uniform(0, ceiling)", "ceiling", ("tests/property/test_reconnecting_herd.py", "tests/unit/test_application_edges.py")),
    Mutant("output without bounds", "application/reporting.py", "        if len(passed.encode(\"utf-8\", \"replace\")) <= limit:\n            return passed\n", "        return passed\n", ("tests/unit/test_application_reporting.py",)),
    Mutant("a boundary on the opening separator", "adapters/wire/framing.py", "    return [framed[at : at + limit] for at in range(0, len(framed), limit)]", "    return [framed[:17], framed[17:]]", ("tests/unit/test_wire_framing.py",)),
    Mutant("category scripts run at each reconnect", "application/categories.py", "if known is None or known.texts != texts:", "if True:", (CATEGORIES,)),
    Mutant("a category that is not ready is registered", "application/categories.py", "self._verdicts.get(code)) is None or not verdict.why_not", "self._verdicts.get(code)) is None or True", (CATEGORIES,)),
    Mutant("nobody looks into the control group", "adapters/process/child.py", "for pid in self._group.pids() if self._group is not None else ():", "for pid in ():", ("tests/system/test_cgroups.py",)),
    Mutant("a text is a flag", "adapters/wire/messages.py", "if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):", "if False:", ("tests/unit/test_wire_messages.py",)),
    Mutant("only the leader is killed", "adapters/process/child.py", "        for proc in self._members() or ():\n            tree.send(proc, *signals)\n", "", (PROCESSES,)),
    Mutant("what is left in the background lives on", "adapters/process/child.py", "        if self._members() != []:\n            return False\n", "", (PROCESSES,)),
    Mutant("no escalation", "adapters/process/child.py", "            self._at(self.command.grace, self._kill)\n", "", (PROCESSES,)),
    Mutant("every signal is a time-out", "adapters/process/child.py", "        if number:\n            return EndReason.SIGNAL", "        if number:\n            return EndReason.TIMEOUT", (PROCESSES,)),
    Mutant("memory without bounds", "adapters/process/output.py", "        while self._tail and self._tail_size - len(self._tail[0]) >= self._tail_limit:", "        while False:", (PROCESSES, "tests/unit/adapters/process/test_output.py")),
    Mutant("the token goes to the task", "adapters/process/environment.py", "if name not in OWN and not name.startswith(CREDENTIALS) and not any(secret in value for secret in hidden)", "if True", ("tests/unit/adapters/runners/test_command.py",)),
    Mutant("two workers in one state directory", "adapters/state/directory.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB", ("tests/system/test_program.py",)),
    Mutant("a late pid undoes the end", "adapters/journal/sqlite.py", "if old is None or old.phase == \"finished\":", "if old is None:", ("tests/contract/test_journal.py",)),
    Mutant("the guardian does not sweep", "adapters/guardian/guardian.py", "            self._sweep()\n", "", ("tests/system/test_guardian.py",)),
    Mutant("the guardian trusts a frozen worker", "adapters/guardian/guardian.py", "            if now < deadline + LATE:\n                continue\n", "            continue\n", ("tests/system/test_guardian.py",)),
    Mutant("a record's checksum is not looked at", "adapters/journal/entry_codec.py", "if checksum != b\"%08x\" % zlib.crc32(text):", "if False:", ("tests/contract/test_journal.py", JOURNAL)),
    Mutant("a bad record ends the start", "adapters/journal/sqlite.py", "            except (ValueError, TypeError, KeyError) as error:\n", "            except RuntimeError as error:\n", (JOURNAL,)),
    Mutant("the old WAL goes before the new file is there", "adapters/journal/replacement.py", "    os.replace(fresh, _ready(path))\n", "    for suffix in SIDES:\n        path.with_name(path.name + suffix).unlink(missing_ok=True)\n    os.replace(fresh, _ready(path))\n", ("tests/contract/test_journal.py",)),
    Mutant("a failed sync is trusted", "adapters/journal/sqlite.py", "                self._distrust()\n", "                pass\n", ("tests/contract/test_journal.py", JOURNAL)),
    Mutant("a failed write changes memory", "adapters/journal/sqlite.py", "        if error is None:\n            merged", "        if True:\n            merged", (JOURNAL,)),
    Mutant("a renewal may outlive its lease", "application/leases.py", "(lease.deadline - now) / 2, max(", "max(", (LEASE,)),
    Mutant("one slow renewal hides the end of other leases", "application/leases.py", "max(OVERRUN, first_end - now))", "ATTEMPT)", (LEASES,)),
    Mutant("a late renewal counts", "application/leases.py", "        elif self._runtime.now() >= lease.deadline:\n", "        elif False:\n", (LEASES,)),
    Mutant("not owned is one failure more", "application/leases.py", "            lease.robbed = self._runtime.now() < lease.deadline\n            self._lose(lease, \"the server says it is not ours\")\n", "            lease.retry_at = self._runtime.now() + 1.0\n", (LEASE,)),
    Mutant("a quiet log forgets what others wrote", "adapters/apiserver/task_logs.py", "if piece.ended and taken.settled and taken.offset >= piece.end:", "if taken.settled and taken.offset >= piece.end:", (TROUBLE,)),
    Mutant("two uploaders of one log", "application/log_delivery.py", "                    progress.busy = True\n", "", (LOGS,)),
    Mutant("a log is trusted before the answer", "adapters/apiserver/task_logs.py", "_Known(int(mark) if mark else None, inherited)", "_Known(int(mark) if mark else None, False)", (COORDINATION,)),
    Mutant("a doubtful log is not looked at in the end", "adapters/apiserver/task_logs.py", "(known.torn or (piece.ended and not piece.data))", "known.torn", (TROUBLE,)),
    Mutant("a failing database refuses", "adapters/apiserver/answers.py", "if kind is BadRequest and", "if False and", (COORDINATION,)),
    Mutant("an approval stays open", "adapters/apiserver/approvals.py", "/action/", "/cancel/", (COORDINATION,)),
    Mutant("the guardian's kill is the task's own end", "application/execution.py", "and result.exit_code == KILLED and not owned", "and False and not owned", ("tests/system/test_suspend.py",)),
    Mutant("an end that nobody looked at is overruled", "adapters/process/child.py", "            self.exited()  #", "            pass  #", (LADDER,)),
    Mutant("the last cause wins", "adapters/process/child.py", "if self._ended is None and self._decided is None:", "if self._ended is None:", (LADDER,)),
    Mutant("a time-out after a kill asks politely", "adapters/process/child.py", "        if self._urgency is not None and request.urgency <= self._urgency:\n            return\n", "", (LADDER,)),
    Mutant("a lost connection ends the link", "application/link.py", "            self._receive(closing, listener)\n", "            self._receive(closing, listener)\n            if not self.up.is_set():\n                return\n", (LINK,)),
    Mutant("an unavailable lock ends the link", "application/link.py", "except (TransportError, CoordinationError) as error:", "except TransportError as error:", (VIRTUAL,)),
    Mutant("a task ends though a process of it cannot be killed", "adapters/process/child.py", "            if self._loop.ending:\n", "            if True:\n", ("tests/system/test_unkillable.py",)),
    Mutant("what cannot be seen is taken for gone", "adapters/process/tree.py", "GONE = (FileNotFoundError, ProcessLookupError, PermissionError)", "GONE = (OSError,)", (PROCESSES,)),
    Mutant("a wait is as long as the time-out", "adapters/process/timers.py", "min(LONGEST, max(0.0, self._heap[0][0] - self._clock()))", "max(0.0, self._heap[0][0] - self._clock())", (PROCESSES, TIMING)),
    Mutant("an ended process is held until its deadline", "adapters/process/child.py", "            timer.cancel()\n", "            pass\n", (PROCESSES,)),
    Mutant("no second try without a thread", "adapters/process/supervisor.py", "if attempt == TRIES - 1:\n                    return", "if True:\n                    return", ("tests/system/test_spawn_failures.py",)),
    Mutant("the guardian kills by number", "adapters/process/killing.py", "                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)", "                    os.kill(known.pid, signal.SIGKILL)", ("tests/system/test_jail.py",)),
    Mutant("the guardian does not look again", "adapters/process/killing.py", "if now is not None and now.start == known.start:", "if now is not None:", ("tests/system/test_jail.py",)),
    Mutant("tasks inherit ignored signals", "adapters/guardian/guardian.py", "        start_clean()\n", "", ("tests/system/test_worker_on_websocket.py",)),
    Mutant("SQLite checkpoints behind a commit", "adapters/journal/sqlite.py", "wal_autocheckpoint=0", "wal_autocheckpoint=4", ("tests/system/test_crashpoints.py",)),
    Mutant("a half replaced journal is not finished", "adapters/journal/replacement.py", "if not _ready(path).exists():", "if True:", ("tests/contract/test_journal.py",)),
    Mutant("the worker reads the wall clock", "adapters/runtime/threads.py", "time.clock_gettime(time.CLOCK_BOOTTIME)", "time.time()", ("tests/system/test_clock_jumps.py",)),
    Mutant("a task starts though it could not be kept", "application/run_task.py", "return self._drop(run, \"refused\", f\"its end could not be kept ({error})\", logging.ERROR)", "log.error(\"not taken: its end could not be kept (%s)\", error, extra=run.label)", (LINE, "tests/system/test_small_disk.py",)),
    Mutant("what the server does not take is looked for all the time", "application/delivery.py", "pending.next_at = max(pending.next_at, self._host.runtime.now() + pending.watch.pause())", "pending.next_at = self._host.runtime.now() + pending.watch.pause()", (VIRTUAL,)),
    Mutant("a refused key is about the task", "adapters/apiserver/tasks.py", "except KeyRefused as error:  # it says nothing about the task", "except BadMessage as error:  #", (VIRTUAL,)),
    Mutant("the start deadline is looked at once", "application/announce.py", "            if runtime.now() >= send_at and", "            if False and", (VIRTUAL,)),
    Mutant("a deleted task hides the ends of others", "application/recovery.py", "except NotFound:  # deleted", "except JournalError:  # deleted", (VIRTUAL,)),
    Mutant("the end of a worker stops nothing", "application/worker.py", "        if not self.table.idle.is_set():\n", "        if False:\n", (WORLD,)),
    Mutant("a worker that ends admits tasks", "application/worker.py", "        self.table.close(\"the worker shuts down\")\n", "", (WORLD, MEMORY)),
    Mutant("each remnant has patience of its own", "adapters/process/orphans.py", "        self._patience = max(0.0, deadline - time.monotonic())\n", "", ("tests/system/test_unkillable.py",)),
    Mutant("logs of a settled task end with their worker", "adapters/spool/file.py", "            self._take_over(task_id)\n", "            pass\n", (SPOOL,)),
    Mutant("a log that waits holds a descriptor", "adapters/spool/task_log.py", "        self._tail_size = 0\n        self.close()\n", "        self._tail_size = 0\n        self._descriptor, self.kept = -1, self._descriptor\n", (SPOOL,)),
    Mutant("a log that is gone frees no quota", "adapters/spool/file.py", "            self._used -= found.size\n", "", (SPOOL,)),
    Mutant("a server in trouble is asked for each result", "application/delivery.py", "            self._look_at = self._host.runtime.now() + TROUBLE\n", "", (VIRTUAL,)),
    Mutant("a look that fails comes first again", "application/delivery.py", "(not self._never_sent(it), it.next_at)", "(not self._never_sent(it), it.added)", (VIRTUAL,)),
    Mutant("who logs waits for who reads", "adapters/observability/line_writer.py", "self._lines.put_nowait(text)", "self._lines.put(text)", ("tests/unit/test_observability.py",)),
    Mutant("an offer that waits for a slot is forgotten", "application/intake.py", "                self._waiting[offer.task.id] = (offer, self._runtime.now())\n", "                pass\n", (INTAKE,)),
    Mutant("what waits for a slot waits for ever", "application/intake.py", "if since < oldest]", "if False]", (INTAKE,)),
    Mutant("a stop of what waits for a slot is lost", "application/intake.py", "            waiting, _ = self._waiting.pop(stop.task_id, (None, 0.0))\n", "            waiting = None\n", (INTAKE,)),
    Mutant("a refused offer is not declined", "application/intake.py", "        decline(self._stream, offer, why)\n", "", (INTAKE,)),
    Mutant("a known offer is not given back", "application/intake.py", "self._refuse(offer, \"duplicate\", \"it is in hand already\")", "self._count(\"duplicate\")", (INTAKE, BORDER,)),
    Mutant("what is claimed and not taken is not offered again", "application/run_task.py", "            decline(self._steps.stream, run.offer, why)\n", "            pass\n", (LINE,)),
    Mutant("SUPERSEDED is taken for CONFIRMED", "application/announce.py", "                    return Announced.ENDED\n", "                    return Announced.CONFIRMED\n", (LINE,)),
    Mutant("the border lets a foreign exception through", "application/border.py", "except (Exception, SystemExit) as error:  # noqa: BLE001", "except WorkerError as error:  # noqa: BLE001", (BORDER,)),
    Mutant("the border lets the error of another port through", "application/border.py", "LINK: Errors = (TransportError,)", "LINK: Errors = (TransportError, CoordinationError)", (BORDER,)),
    Mutant("an answer against the port is believed", "application/border.py", "            if not check(answer):\n", "            if False:\n", (BORDER,)),
    Mutant("what a foreign error says is not masked", "application/border.py", "post.redact(f\"{type(error).__name__}: {error}\")", "f\"{type(error).__name__}: {error}\"", (BORDER,)),
    Mutant("a list of long ago is believed", "application/roll.py", "max(watch.since, now - FRESH)", "watch.since", (ROLL,)),
    Mutant("absence from a list proves that nothing is there", "application/roll.py", "or watch.misses >= MISSES:", "or False:", (ROLL,)),
    Mutant("what may be another's is told unseen", "application/delivery.py", "if task is None and not self._leases.owns(task_id):", "if False:", (DELIVERY,)),
    Mutant("a robbed claim is handed back", "application/leases.py", "            lease.robbed = self._runtime.now() < lease.deadline\n", "", (LEASES,)),
]  # fmt: skip


def verdict(mutant: Mutant) -> str:
    """``red`` if a test failed, ``hung`` if one did not end (found too), ``STALE`` if the text to change is not there,
    ``BROKEN`` if the tests could not be run."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory) / "tree"
        shutil.copytree(ROOT, copy, ignore=_left_out)
        path = copy / mutant.file
        text = path.read_text()
        if text.count(mutant.old) < 1:
            return "STALE"
        path.write_text(text.replace(mutant.old, mutant.new, 1))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "--no-cov",
            "-m",
            "not torture",
        ]
        command += ["--hypothesis-profile=no-shrinking", *mutant.tests]
        try:
            done = subprocess.run(command, cwd=copy, capture_output=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return "hung"
        return {0: "GREEN", 1: "red"}.get(done.returncode, "BROKEN")


def _left_out(directory: str, names: list[str]) -> set[str]:
    own = {"state"} if Path(directory) == ROOT else set()  # what a worker that was tried out here has left
    return set(names) & ({".git", ".venv", ".mypy_cache", "__pycache__", ".hypothesis"} | own)


def main() -> int:
    usage = argparse.ArgumentParser(description="Put defects into a copy of the tree and see which tests go red.")
    usage.add_argument("names", nargs="*", metavar="NAME", help="only defects that have this in their name")
    names = usage.parse_args().names
    wanted = [it for it in MUTANTS if not names or any(word in it.name for word in names)]
    if not wanted:
        usage.error("no defect has such a name")
    green = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, word in zip(wanted, pool.map(verdict, wanted), strict=True):
            green += word.isupper()
            print(f"{word:<6} {mutant.name}", flush=True)
    print(f"{len(wanted) - green} of {len(wanted)} defects were found")
    return 1 if green else 0


if __name__ == "__main__":
    sys.exit(main())
