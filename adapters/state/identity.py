"""Who this worker is: made once, kept in the state directory, never silently replaced."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from domain.errors import ConfigError


def private_directory(path: Path) -> Path:
    """Make (0700) or check a directory that is nobody else's business (G66). Raises ConfigError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = os.lstat(path)
    except OSError as error:
        raise ConfigError(f"state_dir: {path} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(state.st_mode):
        raise ConfigError(f"state_dir: {path} is a link or no directory; name a directory of the worker's own")
    if state.st_uid != os.geteuid():
        raise ConfigError(f"state_dir: {path} belongs to another user (uid {state.st_uid})")
    if state.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def worker_id(state_dir: Path, configured: str) -> str:
    """The configured id, else the one kept in ``state_dir``, else a new one, kept before it is used.

    Raises ConfigError for a damaged file, and where a configured id differs from the kept one: results of the kept one
    may be waiting, and the server knows it.
    """
    path = state_dir / "identity.json"
    kept = _kept(path, configured)
    chosen = configured.lower() or kept or str(uuid.uuid4())
    if not kept:
        _write(path, chosen)
    return chosen


def default_name(identity: str) -> str:
    return f"{socket.gethostname()[:60]}-{identity[:8]}"


def _kept(path: Path, configured: str) -> str:
    kept = _read(path)
    if kept and configured and kept != configured.lower():
        raise ConfigError(
            f"worker.id: is {configured}, but this state directory belongs to worker {kept} ({path}): "
            "use another state_dir for another worker, or remove that file to give up the old identity"
        )
    return kept


def _read(path: Path) -> str:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        return str(uuid.UUID(json.loads(text)["id"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{path}: is damaged, and a new identity would orphan this worker's tasks on the server: restore the file, "
            'or write {"id": "..."} with the id that the server shows for this worker'
        ) from None


def _write(path: Path, identity: str) -> None:
    try:
        # A name of its own: in a container every life has the same process id, also the one that was cut off here.
        descriptor, fresh = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # 0600
        try:
            with open(descriptor, "w") as file:
                file.write(json.dumps({"id": identity}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, path)
        except OSError:
            os.unlink(fresh)
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ConfigError(f"{path}: the worker's identity cannot be kept there: {error.strerror}") from error


def inspect_state(directory: Path, configured: str) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) for what ``private_directory`` and ``worker_id`` would refuse; makes and changes nothing.

    Root may look at a directory that is another user's: the worker will run as that one.
    """
    there = next((path for path in (directory, *directory.parents) if os.path.lexists(path)), directory)
    if not there.is_dir() or (there == directory and there.is_symlink()):
        yield "state_dir", f"{there} is a link or no directory; name a directory of the worker's own"
        return
    if not os.access(there, os.W_OK | os.X_OK) or (there == directory and os.geteuid() not in (0, _owner(there))):
        yield "state_dir", f"{there} belongs to another user, or cannot be written"
        return
    try:
        _kept(directory / "identity.json", configured)
    except ConfigError as error:
        yield "worker.id", str(error).removeprefix("worker.id: ")


def _owner(path: Path) -> int:
    return path.stat().st_uid
