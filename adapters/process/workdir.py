"""Where a task works."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path

from adapters.process.environment import child_environment
from domain.errors import WorkerError
from domain.runner import ExecutionContext

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)


class NoWorkingDirectory(WorkerError):
    """The directory a task wants to work in cannot be had."""


def prepare(context: ExecutionContext, use_default: bool = True) -> Path | None:
    """Make and return the task's working directory (mode 0755, parents too); None is the current directory.

    What the task asked for may begin with ``~`` or ``~user`` and hold ``$NAME`` and ``${NAME}`` of its environment.
    Raises NoWorkingDirectory, with the reason, where it is no directory or cannot be made.
    """
    wanted = context.default_dir if use_default else None
    if context.working_dir is not None:
        wanted = _meant(str(context.working_dir), context.environment).absolute()
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


def _meant(text: str, added: Mapping[str, str]) -> Path:
    """As a shell would read it: nobody wants a directory that is called ``~`` or ``$HOME``."""
    if "$" in text and not (os.path.isabs(text) and os.path.isdir(text)):  # one that is called so is there already
        known = child_environment(os.environ, added)
        text = VARIABLE.sub(lambda found: _value(known, found[1] or found[2], text), text)
    if not text.startswith("~"):
        return Path(text)
    user, slash, rest = text[1:].partition("/")
    home = (added.get("HOME") or os.environ.get("HOME", "")) if not user else ""
    try:
        home = home or (pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())).pw_dir
    except KeyError:
        raise NoWorkingDirectory(
            f"the working directory {text}: no home directory of {user or 'this user'} is known; write the path itself"
        ) from None
    return Path(home + slash + rest)


def _value(known: Mapping[str, str], name: str, text: str) -> str:
    if not known.get(name):
        raise NoWorkingDirectory(
            f"the working directory {text}: the task's environment has no {name}; set it there or write the path"
        )
    return known[name]


def leave(context: ExecutionContext) -> None:
    """Remove the directory that was made for this one task, if the task left nothing in it; never raises.

    One that is named after a planned job stays: another run of the job may be in it.
    """
    own = context.default_dir
    if context.working_dir is None and own is not None and own.name == context.task_id:
        with contextlib.suppress(OSError):
            own.rmdir()
