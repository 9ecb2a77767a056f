"""Where an adapter meets the core: whatever else it raises becomes one of our errors, so that none can end the worker.

A bug of a transport costs what a failure of its network would cost: another try. It is told once for each place, with
the adapter's name, as the defect that it is. What it returns against its port counts as such a bug.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from application.ports import Claim, Offer, Receipt, Server, Stop, Taken
from domain.errors import ConnectionLost, CoordinationError, JournalError, TransportError, Unavailable, WorkerError
from domain.task import Task

log = logging.getLogger("worker.border")

Part = TypeVar("Part")
Errors = tuple[type[WorkerError], ...]

LONGEST = 1000  # characters of what an error says
LINK: Errors = (TransportError,)
REQUESTS: Errors = (CoordinationError,)
WIDER: Mapping[str, Errors] = {  # methods that may raise more than the others of their part
    "connect": (TransportError, CoordinationError),
    "append": (CoordinationError, JournalError),  # of our own spool, whose history it uses
}
ANSWERS: Mapping[str, Callable[[Any], bool]] = {  # what the core could not go on with is looked at
    "receive": lambda found: isinstance(found, Sequence) and all(isinstance(it, (Offer, Stop)) for it in found),
    "silence": lambda found: isinstance(found, (int, float)),
    "claim": lambda found: found is None or isinstance(found, Claim),
    "fetch": lambda found: isinstance(found, Task),
    "of_worker": lambda found: isinstance(found, Sequence) and all(isinstance(it, Task) for it in found),
    "append": lambda found: isinstance(found, Taken),
}
TOLD = ("running", "publish", "progress", "hand_back")


@dataclass(frozen=True, slots=True)
class Post:
    """One border crossing: whose, and how errors are called behind it."""

    name: str
    error: type[WorkerError]
    passed: Errors
    redact: Callable[[str], str]
    receipts: tuple[Receipt, ...]


def guarded(server: Server, redact: Callable[[str], str]) -> Server:
    """The same server behind the border; what is behind it already stays as it is. ``redact`` takes secrets out of what
    its errors say. ``abandon`` raises nothing."""
    if isinstance(server.stream, _Border):
        return server
    receipts = tuple(Receipt) if server.read_back is not None else (Receipt.CONFIRMED, Receipt.SUPERSEDED)

    def behind(part: Part, error: type[WorkerError] = Unavailable, passed: Errors = REQUESTS) -> Part:
        return cast(Part, _Border(part, Post(server.name, error, passed, redact, receipts)))

    whole = behind(server)

    def abandon() -> None:
        try:
            whole.abandon()
        except WorkerError:
            pass  # it was told, and the worker ends all the same

    return replace(
        server,
        stream=behind(server.stream, ConnectionLost, LINK),
        outcomes=behind(server.outcomes, ConnectionLost, LINK),
        claims=behind(server.claims),
        read_back=behind(server.read_back) if server.read_back is not None else None,
        logs=behind(server.logs) if server.logs is not None else None,
        credentials=behind(server.credentials),
        approvals=behind(server.approvals),
        scripts=behind(server.scripts),
        secrets=whole.secrets,
        abandon=abandon,
    )


class _Border:
    """Stands for ``part``; its methods raise the errors that their port names as they are, and ``Post.error`` for any
    other."""

    def __init__(self, part: object, post: Post) -> None:
        self._part = part
        self._post = post
        self._told: set[tuple[str, type[BaseException]]] = set()

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        found = self._call(attribute, lambda: getattr(self._part, attribute))
        if not callable(found):
            return found
        call = functools.partial(self._call, attribute, self._checked(attribute, found))
        self.__dict__[attribute] = call  # the next time nobody asks
        return call

    def _checked(self, attribute: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """``method``, or one that raises TypeError for an answer that is none."""
        check = self._is_receipt if attribute in TOLD else ANSWERS.get(attribute)
        if check is None:
            return method

        def checked(*args: object, **named: object) -> object:
            answer = method(*args, **named)
            if not check(answer):
                raise TypeError(f"the answer {answer!r:.100} is against the port")
            return answer

        return checked

    def _is_receipt(self, answer: object) -> bool:
        return isinstance(answer, Receipt) and answer in self._post.receipts

    def _call(self, attribute: str, method: Callable[..., object], *args: object, **named: object) -> object:
        post = self._post
        try:
            return method(*args, **named)
        except WIDER.get(attribute, post.passed):
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - anything may come out of somebody else's adapter
            text = post.redact(f"{type(error).__name__}: {error}")[:LONGEST]
            if (attribute, type(error)) not in self._told:
                self._told.add((attribute, type(error)))
                log.error("a defect of the transport %s: %s raised %s", post.name, attribute, text)
            raise post.error(f"{post.name}: {text}") from None
