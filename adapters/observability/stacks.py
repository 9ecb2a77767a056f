"""What every thread of this process does at the moment, for a person who looks for a hang."""

from __future__ import annotations

import sys
import threading
import traceback


def stacks() -> str:
    """One block a thread, the innermost call last. Shows code, no values."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    blocks = []
    for ident, frame in sys._current_frames().items():
        blocks.append(f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame)).rstrip()}")
    return "\n".join(blocks)
