"""Which Python runs the program: the one that was asked, or that of the ``.venv`` beside it.

Standard library only, and nothing that a Python older than the program's own does not understand.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST = (3, 11)
NEEDED = ("click", "cronsim", "dataclasses_json", "dependency_injector", "pydantic", "urllib3", "websocket")
TRIED = "CRONJOB_WORKER_VENV_TRIED"  # keeps what stands in .venv, whatever it is, from being executed for ever
CONFIGURATION = 78


def go_on_where_the_packages_are(root: Path) -> None:
    """Return if this Python has what the program needs; else go on as the one in ``root``/.venv, with the same flags
    and arguments. Where that is of no use either, say so in one line and exit with status 78."""
    tried = os.environ.pop(TRIED, "")
    if not (lacking := what_is_lacking()):
        return
    python = root / ".venv" / "bin" / "python"
    if not tried:
        os.environ[TRIED] = "1"
        try:
            os.execv(python, [str(python), *getattr(sys, "orig_argv", [sys.executable, *sys.argv])[1:]])  # noqa: S606
        except OSError:
            pass  # it is not there, or nothing that can be executed
    version = ".".join(map(str, sys.version_info[:2]))
    sys.stderr.write(f"{sys.executable} (Python {version}) {lacking}: run `make setup` in {root}\n")
    sys.exit(CONFIGURATION)


def what_is_lacking() -> str:
    """Why this Python cannot run the program; empty if it can."""
    if tuple(sys.version_info) < OLDEST:
        return f"is older than Python {OLDEST[0]}.{OLDEST[1]}"
    missing = [name for name in NEEDED if find_spec(name) is None]
    return f"has no package {', '.join(missing)}" if missing else ""


def safety_flags() -> list[str]:
    """The flags of this interpreter that say whom it trusts, for another one that is to do the same work."""
    flags = sys.flags
    given = {"-I": flags.isolated, "-E": flags.ignore_environment, "-s": flags.no_user_site, "-P": flags.safe_path}
    return [flag for flag, on in given.items() if on]
