"""Where a task works."""

from __future__ import annotations

import contextlib
from pathlib import Path

from domain.errors import WorkerError
from domain.runner import ExecutionContext


class NoWorkingDirectory(WorkerError):
    """The directory a task wants to work in cannot be had."""


def prepare(context: ExecutionContext, use_default: bool = True) -> Path | None:
    """Make and return the task's working directory (mode 0755, parents too); None is the current directory.

    Raises NoWorkingDirectory, with the reason, where it is no directory or cannot be made.
    """
    wanted = context.working_dir or (context.default_dir if use_default else None)
    if wanted is None:
        return None
    try:
        wanted.mkdir(mode=0o755, parents=True, exist_ok=True)
    except FileExistsError:
        raise NoWorkingDirectory(f"the working directory {wanted} is not a directory") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NoWorkingDirectory(f"the working directory {wanted} cannot be made: {reason}") from None
    return wanted


def leave(context: ExecutionContext) -> None:
    """Remove the directory that was made for this one task, if the task left nothing in it; never raises.

    One that is named after a planned job stays: another run of the job may be in it.
    """
    own = context.default_dir
    if context.working_dir is None and own is not None and own.name == context.task_id:
        with contextlib.suppress(OSError):
            own.rmdir()
