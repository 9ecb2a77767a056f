"""The first thing that a start does: become the guardian, or go on as what the command line says.

Standard library only: this runs in the process that watches, and with whatever Python a person happens to have.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # as the small program that ``ensure_guardian`` starts
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from adapters.guardian.guardian import FD_VARIABLE, Guardian, forbid_inspection


def enter(arguments: list[str]) -> None:
    """Return where this process is to do the work itself; else be the guardian and end the process."""
    forbid_inspection()
    if runs_the_worker(arguments) and FD_VARIABLE not in os.environ:
        sys.exit(Guardian([sys.executable, *sys.orig_argv[1:]]).run())


def ensure_guardian(arguments: list[str]) -> None:
    """The same for a program that has imported more than the guardian needs: it is replaced by a small one."""
    forbid_inspection()
    if runs_the_worker(arguments) and FD_VARIABLE not in os.environ:
        watch = [sys.executable, "-I", os.path.abspath(__file__), "--", sys.executable, *sys.orig_argv[1:]]
        os.execv(sys.executable, watch)  # noqa: S606 - no shell is wanted


def runs_the_worker(arguments: list[str]) -> bool:
    """True if the command line means ``run``: with that word, or without any command."""
    rest = iter(arguments)
    for word in rest:
        if word in ("--config", "--set"):
            next(rest, None)
        elif word in ("-h", "--help", "--version"):
            return False
        elif not word.startswith("-"):
            return word == "run" and not {"-h", "--help"} & set(rest)
    return True


if __name__ == "__main__":
    forbid_inspection()
    sys.exit(Guardian(sys.argv[2:]).run())
