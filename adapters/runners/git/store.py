"""The ``.git`` of a working copy: its settings, its locks, and what becomes of a damaged one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.runners.git.directory import GitFailed
from domain.result import EndReason

# What git says (LC_ALL is C) where it is the store that is at fault, though a remote or a wrong name could have been.
DAMAGED = re.compile(
    r"corrupt|index file|bad (?:index|object|signature|shallow|config|tree|ref)|missing (?:blob|tree|commit|object)"
    r"|(?:file|pack|object) \S+ is (?:empty|far too short)|object file|packfile|packed-refs|unresolved deltas"
    r"|unable to (?:read|resolve|parse|unpack)|unable to find [0-9a-f]{40}|inflate|broken |not a git repository"
    r"|did not send all necessary|not a valid (?:object|SHA)|[Cc]ould not (?:read|parse) [0-9a-f]{7}|hash mismatch"
    r"|nonexistent object|does not point to a valid|non-monotonic|shallow"
)
ELSEWHERE = ("fetch", "rev-parse", "submodule")  # commands that fail for other reasons too
DISK = re.compile(r"No space left|quota|Permission denied|Read-only file system|Operation not permitted")
PACK_LIMIT, PACK_AGAIN = 300.0, 86_400.0  # seconds: for packing at most, and until the next try if that was too few
PACKING = (
    "-c", "gc.auto=6700", "-c", "gc.autoPackLimit=50", "-c", "gc.autoDetach=false", "-c", "gc.pruneExpire=now",
    "-c", "gc.writeCommitGraph=false", "-c", "pack.threads=1", "-c", "pack.windowMemory=64m",
)  # fmt: skip
HEAD = re.compile(r"ref: refs/\S+|[0-9a-f]{40,64}")
ASIDE = ".git-damaged-"
SUSPECT = "worker-found-damage"  # a file in a store that is to be fetched anew next time


def damaged(failed: GitFailed) -> bool:
    """Whether a command failed because of the store; what the remote says of its own counts for nothing."""
    if failed.reason is not EndReason.FAILED:
        return False
    if failed.command not in ELSEWHERE:
        return not DISK.search(failed.text)
    return any(DAMAGED.search(line) for line in failed.text.splitlines() if not line.startswith("remote:"))


def sound(store: Path) -> bool:
    """Whether git would take it for a repository; otherwise it would look for another one further up."""
    if (store / SUSPECT).exists():
        return False
    try:
        head = (store / "HEAD").read_text()
    except (OSError, ValueError):
        return False
    return bool(HEAD.fullmatch(head.strip())) and (store / "objects").is_dir() and (store / "refs").is_dir()


def whole_index(store: Path) -> bool:
    """Whether the list of the files that are checked out is whole. Git itself takes half of one for the whole."""
    try:
        data = (store / "index").read_bytes()
    except OSError:
        return False
    told = data[-20:]  # all zeros where git was told to leave it out
    return len(data) > 20 and told in (bytes(20), hashlib.sha1(data[:-20]).digest())  # noqa: S324 - as git does


def unlock(store: Path) -> None:
    """A git that was killed leaves locks, which would end every later run; whoever held one is gone by now."""
    locks = [*store.glob("*.lock"), store / "gc.pid"]
    for name in ("refs", "objects/info", "objects/pack"):
        if not (store / name).is_symlink():
            locks += (store / name).rglob("*.lock")
    for lock in locks:
        lock.unlink(missing_ok=True)


def reset_settings(store: Path, url: str) -> None:
    """Whatever an earlier task or run left there (tokens, filters, aliases, other remotes) is gone (GIT2, GIT5)."""
    for name in ("config.worktree", "commondir", "info/attributes", "objects/info/alternates", "config.lock"):
        (store / name).unlink(missing_ok=True)
    for name in ("hooks", "logs"):  # logs keep what was rewritten at the remote, and names that others need now
        shutil.rmtree(store / name, ignore_errors=True)
    text = (
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n"
        f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
    )
    descriptor, path = tempfile.mkstemp(dir=store)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path, store / "config")


@contextmanager
def aside(store: Path) -> Iterator[None]:
    """Put a damaged store away, all but its index, so that another takes its place; it comes back if that fails."""
    place = Path(tempfile.mkdtemp(prefix=ASIDE, dir=store.parent))
    os.rename(store, place / "git")
    try:
        store.mkdir()
        if whole_index(place / "git"):
            shutil.copyfile(place / "git" / "index", store / "index")
        yield
    except BaseException:
        shutil.rmtree(store, ignore_errors=True)
        os.rename(place / "git", store)
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def bring_back(store: Path) -> None:
    """Tidy up after a run that was killed while a store was put away."""
    for place in store.parent.glob(f"{ASIDE}????????"):
        if place.is_dir() and not place.is_symlink():
            if not os.path.lexists(store) and (place / "git").is_dir():
                os.rename(place / "git", store)
            shutil.rmtree(place, ignore_errors=True)
