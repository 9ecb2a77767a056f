"""Whatever an adapter of others raises or returns costs a try, is told once, and never ends the worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from application.border import guarded
from application.ports import Claim, Identity, LogPiece, Offer, Receipt, Report, Server, Taken, Verb
from domain.errors import ConnectionLost, JournalError, NotFound, Unavailable, WorkerError
from domain.runner import Approval
from domain.status import Status
from domain.task import Task
from tests.support.virtual import Scene

SECRET = "hunter2"
TASK = Task("t", "fake")
OFFER = Offer(TASK)
ENDED = Report("t", Verb.ENDED, Status.SUCCESS)
PIECE = LogPiece("t", 0, b"x", False, None)  # type: ignore[arg-type]
IDENTITY = Identity("id", "w")
LINK, REQUEST = ConnectionLost, Unavailable
CALLS: dict[tuple[str, str], tuple[tuple[Any, ...], type[WorkerError]]] = {
    ("stream", "connect"): ((IDENTITY,), LINK),
    ("stream", "receive"): ((1, 0.5), LINK),
    ("stream", "decline"): ((OFFER, "why", 3.0), LINK),
    ("stream", "announce"): ((IDENTITY,), LINK),
    ("stream", "ping"): ((), LINK),
    ("stream", "silence"): ((), LINK),
    ("stream", "close"): ((), LINK),
    ("claims", "claim"): ((OFFER, "token", 10.0, 5.0), REQUEST),
    ("claims", "extend"): (("t", "token", 10.0, 5.0), REQUEST),
    ("claims", "settle"): (("t", "token", 5.0), REQUEST),
    ("outcomes", "running"): (("t", "token"), LINK),
    ("outcomes", "publish"): ((ENDED, "token"), LINK),
    ("outcomes", "progress"): ((ENDED, "token"), LINK),
    ("outcomes", "hand_back"): ((ENDED, "token"), LINK),
    ("read_back", "fetch"): (("t",), REQUEST),
    ("read_back", "of_worker"): (("id", None, 500), REQUEST),
    ("logs", "append"): ((PIECE,), REQUEST),
    ("credentials", "credential"): (("c",), REQUEST),
    ("approvals", "create_approval"): (("t", Approval("title", "", "", (), (), False, 0, "")), REQUEST),
    ("approvals", "cancel_approval"): (("a",), REQUEST),
    ("approvals", "pending_approvals"): (("t",), REQUEST),
    ("scripts", "category"): (("fake",), REQUEST),
}


class Raising:
    """Each of its methods raises what it is made with; its property too."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        for _, method in CALLS:
            setattr(self, method, self._raise)

    def _raise(self, *_: object) -> Any:
        raise self.error

    @property
    def keeps_running(self) -> bool:
        raise self.error


def redact(text: str) -> str:
    return text.replace(SECRET, "***")


def server_of(part: Any) -> Server:
    return guarded(Server("bus", part, part, part, part, part, part, part, part, secrets=part.fetch), redact)


@pytest.mark.parametrize("error", [ValueError(SECRET), SystemExit(SECRET), MemoryError(SECRET)], ids=repr)
@pytest.mark.parametrize(("part", "method"), CALLS)
def test_what_a_method_of_others_raises_is_one_of_our_errors_and_told_once(
    part: str, method: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    call = getattr(getattr(server_of(Raising(error)), part), method)
    arguments, expected = CALLS[part, method]
    for _ in range(3):
        with pytest.raises(expected) as raised:
            call(*arguments)
        assert str(raised.value) == f"bus: {type(error).__name__}: ***"
    assert caplog.messages == [f"a defect of the transport bus: {method} raised {type(error).__name__}: ***"]


@pytest.mark.parametrize(("part", "method"), CALLS)
def test_what_a_port_names_passes_as_it_is_and_an_error_of_another_port_does_not(
    part: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments, expected = CALLS[part, method]
    named = ConnectionLost("gone") if expected is LINK else NotFound("gone")
    foreign = JournalError("disk") if expected is LINK or method != "append" else ConnectionLost("gone")
    with pytest.raises(type(named), match=r"^gone$"):
        getattr(getattr(server_of(Raising(named)), part), method)(*arguments)
    assert caplog.messages == []
    with pytest.raises(expected, match=r"^bus: "):
        getattr(getattr(server_of(Raising(foreign)), part), method)(*arguments)


def test_only_connecting_may_fail_as_a_request_does() -> None:
    stream = server_of(Raising(Unavailable("503"))).stream
    with pytest.raises(Unavailable, match=r"^503$"):
        stream.connect(IDENTITY)
    with pytest.raises(ConnectionLost):
        stream.receive(1, 0.5)


@pytest.mark.parametrize(
    ("part", "method", "answers"),
    [
        ("stream", "receive", [None, [None], [{"action": "run"}], iter([OFFER])]),
        ("stream", "silence", [None, "0"]),
        ("claims", "claim", [True, TASK, "token"]),
        ("outcomes", "running", [None, True, "confirmed"]),
        ("outcomes", "publish", [None, True]),
        ("outcomes", "progress", [None, False]),
        ("outcomes", "hand_back", [None]),
        ("read_back", "fetch", [None, {}]),
        ("read_back", "of_worker", [None, [None], iter([TASK])]),
        ("logs", "append", [None, 7]),
    ],
)
def test_an_answer_against_the_port_is_a_defect_too(part: str, method: str, answers: list[Any]) -> None:
    arguments, expected = CALLS[part, method]
    for answer in answers:
        made = Raising(ValueError())
        setattr(made, method, lambda *_, answer=answer: answer)
        with pytest.raises(expected, match="against the port"):
            getattr(getattr(server_of(made), part), method)(*arguments)


@pytest.mark.parametrize(
    ("part", "method", "answer"),
    [
        ("stream", "receive", (OFFER,)),
        ("stream", "silence", 0),
        ("claims", "claim", None),
        ("claims", "claim", Claim(TASK, "token")),
        ("outcomes", "running", Receipt.SENT),
        ("read_back", "of_worker", [TASK]),
        ("logs", "append", Taken(1)),
    ],
)
def test_an_answer_of_the_port_passes(part: str, method: str, answer: object) -> None:
    made = Raising(ValueError())
    setattr(made, method, lambda *_: answer)
    assert getattr(getattr(server_of(made), part), method)(*CALLS[part, method][0]) == answer


def test_who_confirms_nothing_has_to_be_read_back() -> None:
    made: Any = Raising(ValueError())
    made.publish = lambda *_: Receipt.SENT
    server = guarded(Server("bus", made, made, made), redact)
    with pytest.raises(ConnectionLost, match="against the port"):
        server.outcomes.publish(ENDED, "token")


def test_properties_secrets_and_the_farewell_are_behind_it_too() -> None:
    made: Any = Raising(KeyError(SECRET))
    server = guarded(Server("bus", made, made, made, secrets=made.fetch, abandon=made.fetch), redact)
    with pytest.raises(Unavailable):
        _ = server.claims.keeps_running
    with pytest.raises(Unavailable):
        server.secrets()
    server.abandon()


def test_what_is_behind_it_already_stays_as_it_is() -> None:
    server = server_of(Raising(ValueError()))
    assert guarded(server, redact) is server
    assert guarded(replace(server, read_back=None), redact).read_back is None


# -- a whole worker


class Flaky:
    """``part`` whose ``method`` fails the first ``times`` it is called."""

    def __init__(self, part: object, method: str, times: int) -> None:
        self._part, self._method, self._left = part, method, times
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name != self._method:
            return found
        return (lambda *args: self._fail() or found(*args)) if callable(found) else (self._fail() or found)

    def _fail(self) -> bool:
        if self._left:
            self._left -= 1
            self.failed += 1
            raise KeyError(SECRET)
        return False


def flaky(part: str, method: str, made: list[Flaky], keeps_running: bool = True) -> Callable[[Server], Server]:
    def change(server: Server) -> Server:
        server.claims.keeps_running = keeps_running  # type: ignore[misc]
        made.append(Flaky(getattr(server, part), method, times=2))
        changed: dict[str, Any] = {part: made[0]}
        return replace(server, **changed)

    return change


PARTS = [it for it in CALLS if it[0] not in ("read_back", "credentials", "approvals") and it[1] != "progress"]


@pytest.mark.parametrize("keeps_running", [True, False], ids=["status protects", "claim protects"])
@pytest.mark.parametrize(("part", "method"), [*PARTS, ("claims", "keeps_running")])
def test_a_worker_lives_through_what_each_method_raises(
    part: str, method: str, keeps_running: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Two failures of each, while tasks run, wait, are stopped, and handed back."""
    made: list[Flaky] = []
    with Scene(change=flaky(part, method, made, keeps_running), redact=redact) as scene:
        tasks = [scene.add("30") for _ in range(3)]
        stopped = scene.add("1000")
        assert scene.live(120.0, lambda: stopped in scene.started)
        scene.worker.link.announce()
        scene.journal.fail = True  # no end could be kept: offered again, and again
        late = scene.add("1")
        scene.live(10.0)
        scene.journal.fail = False
        refuse_start(scene)
        back = scene.add("1")
        assert scene.live(120.0, lambda: scene.memory.status(back) == "success")
        scene.memory.cut()
        scene.memory.stop(stopped)
        assert scene.live(120.0, lambda: {scene.memory.status(task) for task in (*tasks, late)} == {"success"})
        assert scene.live(120.0, lambda: scene.memory.status(stopped) == "stopped")
        scene.live(30.0)
        assert scene.end()
        assert scene.worker.loops.failed is None
    if part == "claims" and method == "keeps_running" and keeps_running:
        assert made[0].failed
    told = [it for it in caplog.messages if "a defect of the transport" in it]
    reached = made[0].failed > 0
    assert told == [f"a defect of the transport memory: {method} raised KeyError: '***'"] * reached
    assert reached or not keeps_running or method == "extend", "this part was not tried"
    assert not any(SECRET in it for it in caplog.messages)


def refuse_start(scene: Scene) -> None:
    """The next task cannot be written down as started, which hands it back."""
    started = scene.journal.started

    def fail(task_id: str) -> None:
        scene.journal.started = started  # type: ignore[method-assign]
        raise JournalError("no room")

    scene.journal.started = fail  # type: ignore[method-assign]


def test_a_farewell_that_fails_costs_no_shutdown() -> None:
    def broken() -> None:
        raise RuntimeError("no")

    with Scene(change=lambda server: replace(server, abandon=broken)) as scene:
        assert scene.connected()
        assert scene.end()


def test_a_server_that_never_takes_what_is_told_keeps_the_end_for_the_next_start() -> None:
    made: list[Flaky] = []

    def change(server: Server) -> Server:
        made.append(Flaky(server.outcomes, "publish", times=1_000_000))
        return replace(server, outcomes=made[0])

    with Scene(change=change) as scene:
        task = scene.add("1")
        assert scene.live(60.0, lambda: scene.worker.delivery.waiting() == 1)
        tries = made[0].failed
        scene.live(60.0)
        assert 10 < made[0].failed - tries < 100, "a try a second or so"
        scene.end()
        assert [entry.phase for entry in scene.journal.entries() if entry.task_id == task] == ["finished"]


def test_a_server_that_never_takes_the_announcement_is_asked_once_a_second() -> None:
    made: list[Flaky] = []

    def change(server: Server) -> Server:
        made.append(Flaky(server.outcomes, "running", times=1_000_000))
        return replace(server, outcomes=made[0])

    with Scene(change=change) as scene:
        scene.add("1")
        scene.live(60.0)
        assert made[0].failed < 100
        assert scene.started == []
        scene.end()
