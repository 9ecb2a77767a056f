"""How the C library keeps what Python has freed."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3
LARGE = 128 * 1024  # bytes


def give_large_blocks_back() -> None:
    """Return each large block to the system as it is freed: the output of a task, a list of tasks.

    Left to itself, glibc raises its threshold with the first such block to up to 32 MB, and from then on each thread's
    heap keeps the largest that it ever was. Called once at the start; elsewhere than on glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
