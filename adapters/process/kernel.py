"""What this process asks of the kernel itself. Standard library only: the guardian uses it."""

from __future__ import annotations

import ctypes
import time

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Adopt the orphans among this process's descendants. Raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def boottime() -> float:
    """Seconds on a clock that never jumps and counts suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
