"""The first thing that a start does: become the guardian, or go on as what the command line says.

Standard library only: this runs in the process that watches, and with whatever Python a person happens to have.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # as the small program that ``ensure_guardian`` starts
    _root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.insert(next((at for at, it in enumerate(sys.path) if it.endswith("-packages")), len(sys.path)), _root)

from adapters.guardian.interpreter import go_on_where_the_packages_are


def enter(arguments: list[str], home: Path) -> None:
    """Return where this process is to do the work itself; else be the guardian and end the process.

    ``home`` is the program's directory, where its ``.venv`` may be.
    """
    go_on_where_the_packages_are(home)
    start_well()
    from adapters.guardian import guardian

    guardian.forbid_inspection()
    if runs_the_worker(arguments) and guardian.FD_VARIABLE not in os.environ:
        sys.exit(guardian.Guardian([sys.executable, *sys.orig_argv[1:]]).run())


def ensure_guardian(arguments: list[str]) -> None:
    """The same for a program that has imported more than a guardian needs: it is replaced by a small one."""
    from adapters.guardian import guardian

    start_well()
    guardian.forbid_inspection()
    if runs_the_worker(arguments) and guardian.FD_VARIABLE not in os.environ:
        watch = [sys.executable, "-I", os.path.abspath(__file__), sys.executable, *sys.orig_argv[1:]]
        os.execv(sys.executable, watch)  # noqa: S606 - no shell is wanted


def start_well() -> None:
    """Start over, at most once, where this process was started in a way that breaks things everywhere.

    A standard descriptor that is closed would become that of the next file opened, and its stream is None; one of
    /dev/null takes its place. In a locale that is not UTF-8, texts of tasks could not be arguments, names of files or
    variables; Python's own UTF-8 mode is for that, and what tasks find in their environment stays as it is.
    """
    again, options = False, list[str]()
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one
            again = True
    if sys.getfilesystemencoding() != "utf-8" and "utf8" not in sys._xoptions:
        again, options = True, ["-X", "utf8"]
    if again:
        os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606 - itself


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
    from adapters.guardian.guardian import Guardian, forbid_inspection

    forbid_inspection()
    sys.exit(Guardian(sys.argv[1:]).run())
