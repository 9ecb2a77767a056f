"""Every error this project raises on purpose.

WorkerError
|-- InvalidTask            the task's own text is wrong; the message is shown to the task's author
|-- UnknownCategory        no runner is registered for the category
|-- InvalidTransition      a status may not follow another
|-- ConfigError            settings are wrong; ends the program with exit status 78
|-- MissingExtra           an optional package is not installed; the message holds the pip line that helps
|-- TransportError
|   |-- ConnectionLost     the link is gone; whatever was not confirmed has to be sent again
|   `-- ConnectionRefused  the server was reached and said no (name clash, bad token, lock taken)
|-- CoordinationError
|   |-- Unavailable        no usable answer (down, slow, 5xx): the same call may succeed later
|   |-- Refused            the server understood and said no: repeating the call will not help
|   `-- NotFound           the thing asked for does not exist
|-- NoRoom                 the system has no room for another thread
`-- JournalError           state on disk could not be read or written
"""

from __future__ import annotations


class WorkerError(Exception):
    """Base of all errors raised on purpose."""


class InvalidTask(WorkerError):
    """The task cannot run as written. The message is meant for its author."""


class UnknownCategory(WorkerError):
    """No runner is registered under this category."""

    def __init__(self, category: str, known: tuple[str, ...] = ()) -> None:
        self.category = category
        hint = f"; known: {', '.join(known)}" if known else ""
        super().__init__(f"no runner is registered for category {category!r}{hint}")


class InvalidTransition(WorkerError):
    """A status may not follow another."""


class ConfigError(WorkerError):
    """Settings are missing or wrong; names the source, the key and the remedy."""

    exit_code = 78  # EX_CONFIG of sysexits.h


class MissingExtra(WorkerError):
    """An optional package that a task needs is not installed; ``extra`` of ``package`` brings it.

    Without ``package`` it is the worker's own, which is on no index and is installed from its directory.
    """

    def __init__(self, what: str, extra: str, package: str = "") -> None:
        self.extra = extra
        line = f"pip install '{package or '.'}[{extra}]'"
        where = "" if package else "in the worker's directory, "
        super().__init__(f"{what} needs an optional package; install it: {where}{line}")


class TransportError(WorkerError):
    """The link to the server failed."""


class ConnectionLost(TransportError):
    """The link broke. Nothing sent and not confirmed may be taken as delivered."""


class ConnectionRefused(TransportError):
    """The server was reached and refused this worker.

    ``retry_after`` is the server's own wish in seconds, if it told one.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CoordinationError(WorkerError):
    """A request beside the event stream failed."""


class Unavailable(CoordinationError):
    """No usable answer came: the same request may succeed later.

    ``retry_after`` is the server's own wish in seconds, if it told one.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(CoordinationError):
    """The server understood the request and refused it; repeating it will not help."""


class NotFound(CoordinationError):
    """The thing asked for does not exist on the server."""


class NoRoom(WorkerError):
    """The system has no room for another thread; later it may have."""


class JournalError(WorkerError):
    """State on disk could not be read or written."""
