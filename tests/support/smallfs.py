"""A file system of a few MiB for the program's state, mounted where only it sees it, and filled at will (H8)."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path


def prefix(directory: Path, mebibytes: int) -> list[str]:
    """What to put before a command to give it a tmpfs of that size on ``directory``, gone with its last process."""
    mount = f'mount -t tmpfs -o size={mebibytes}m,mode=700 smallfs "$0" && exec "$@"'
    return ["unshare", "-m" if os.geteuid() == 0 else "-Urm", "--", "sh", "-c", mount, str(directory)]


@cache
def missing() -> str:
    """Why there can be no small file system here, and what would help; empty if there can be one."""
    try:
        done = subprocess.run([*prefix(Path("/tmp"), 1), "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unshare is not installed: make peers"
    if done.returncode == 0:
        return ""
    return f"no private mounts here ({done.stderr.strip()}): run as root, or allow user namespaces"


class SmallDisk:
    """The file system that process ``pid`` sees at ``directory``, entered from outside."""

    def __init__(self, pid: int, directory: Path) -> None:
        self.path = Path(f"/proc/{pid}/root{directory}")

    @property
    def free(self) -> int:
        """Bytes."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Take every byte that is left."""
        with open(self.path / "ballast", "ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                return

    def empty(self) -> None:
        """Give back what ``fill`` took; idempotent."""
        (self.path / "ballast").unlink(missing_ok=True)
