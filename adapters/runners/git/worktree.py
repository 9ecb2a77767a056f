"""A working copy of one repository: fetch what is wanted, check it out, tell what changed."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from adapters.runners.git import store
from adapters.runners.git.directory import GitFailed, alone, empty
from adapters.runners.git.program import Git
from domain.result import EndReason

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
COUNTS = re.compile(r"(\d+) (file|insertion|deletion)")


@dataclass(frozen=True, slots=True)
class Wanted:
    url: str
    branch: str
    tag: str
    commit: str
    depth: int
    submodules: bool


@dataclass(frozen=True, slots=True)
class Done:
    action: str
    commit: str
    changed_files: int
    insertions: int
    deletions: int


class Worktree:
    def __init__(self, git: Git, directory: Path) -> None:
        self._git = git
        self._directory = directory
        self._store = directory / ".git"

    def bring(self, wanted: Wanted) -> Done:
        """Clone or update, then check out. A failed clone leaves the directory as empty as it was."""
        with alone(self._directory) as known:
            if known:
                store.bring_back(self._store)
            if self._store.is_symlink() or (self._store.exists() and not self._store.is_dir()):
                raise GitFailed(f"{self._store} is not a directory: this is no working copy of this worker's making")
            if not self._store.exists():
                return self._clone(wanted)
            if known:
                store.unlock(self._store)
            done = self._update(wanted)
            if known:
                self._pack()
            return done

    def _clone(self, wanted: Wanted) -> Done:
        if any(self._directory.iterdir()):
            raise GitFailed(f"{self._directory} is not empty and no git repository; clean replaces it")
        try:
            return self._bring(wanted, fresh=True)
        except BaseException:
            empty(self._directory)
            raise

    def _update(self, wanted: Wanted) -> Done:
        """A store that a crash or the disk has damaged is fetched anew: nobody has to ask for it."""
        try:
            if not store.sound(self._store):
                raise GitFailed(f"{self._store} is no git repository any more")
            return self._bring(wanted, fresh=False)
        except GitFailed as failed:
            if not store.damaged(failed):
                raise
            self._git.log(f"{failed.text}\nthe store is damaged: it is fetched anew\n".encode())
        with store.aside(self._store):
            return self._bring(wanted, fresh=True)

    def _pack(self) -> None:
        """Now and then, put many small packs into one and drop what nothing refers to; the task is done by then."""
        tried = self._store / "packing"  # stays behind where it did not come to its end
        with contextlib.suppress(FileNotFoundError):
            if abs(time.time() - tried.stat().st_mtime) < store.PACK_AGAIN:
                return
        tried.touch()
        try:
            self._git(
                self._directory, "gc", "--auto", "--quiet", quiet=True, settings=store.PACKING, timeout=store.PACK_LIMIT
            )
        except GitFailed as failed:
            if failed.reason not in (EndReason.FAILED, EndReason.TIMEOUT):
                raise
            self._git.log(f"the store was not packed: {failed.text}\n".encode())
            if store.damaged(failed) and store.DAMAGED.search(failed.text):
                (self._store / store.SUSPECT).touch()
        else:
            tried.unlink(missing_ok=True)

    def _bring(self, wanted: Wanted, fresh: bool) -> Done:
        if fresh:
            self._git(self._directory, "init", "--quiet", quiet=True)
        store.reset_settings(self._store, wanted.url)
        before = EMPTY_TREE if fresh else self._head()
        if not fresh and not store.whole_index(self._store):
            # Without it git would not know its own files, and leave those behind that the remote has no more.
            (self._store / "index").unlink(missing_ok=True)
            self._git(self._directory, "read-tree", before, quiet=True)
        target = self._fetch(wanted)
        self._check_out(wanted, target)
        if wanted.submodules:
            self._submodules(wanted)
        counts = self._git(self._directory, "diff", "--shortstat", "--no-ext-diff", "--no-textconv", before, target)
        found = {what: int(number) for number, what in COUNTS.findall(counts)}
        return Done(
            "clone" if fresh else "pull", target, found.get("file", 0), found.get("insertion", 0),
            found.get("deletion", 0),
        )  # fmt: skip

    def _check_out(self, wanted: Wanted, target: str) -> None:
        if wanted.tag or wanted.commit:
            self._git(self._directory, "checkout", "--force", "--detach", target, "--")
        else:
            self._make_room(f"refs/heads/{wanted.branch}")
            self._git(self._directory, "checkout", "--force", "--no-track", "-B", wanted.branch, target, "--")

    def _make_room(self, ref: str) -> None:
        """``a`` and ``a/b`` cannot both be names: what the remote called by the other one before goes."""
        first = ref.split("/")[: 4 if ref.startswith("refs/remotes/") else 3]
        named = self._git(self._directory, "for-each-ref", "--format=%(refname)", "/".join(first), quiet=True)
        for other in named.splitlines():
            if ref.startswith(f"{other}/") or other.startswith(f"{ref}/"):
                self._git(self._directory, "update-ref", "--no-deref", "-d", other, quiet=True)

    def _head(self) -> str:
        try:
            return self._git(self._directory, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", quiet=True)
        except GitFailed as failed:
            if failed.exit_code != 1:
                raise
            return EMPTY_TREE

    def _fetch(self, wanted: Wanted) -> str:
        """Return the full id of the commit that is wanted."""
        if wanted.tag:
            ref = f"refs/tags/{wanted.tag}"
            self._make_room(ref)
            self._fetch_refs(wanted, f"+{ref}:{ref}")
        elif wanted.commit:
            return self._fetch_commit(wanted)
        else:
            ref = f"refs/remotes/origin/{wanted.branch}"
            self._make_room(ref)
            self._fetch_refs(wanted, f"+refs/heads/{wanted.branch}:{ref}")
        return self._resolve(ref)

    def _fetch_commit(self, wanted: Wanted) -> str:
        if len(wanted.commit) >= 40:
            try:
                self._fetch_refs(wanted, wanted.commit)
                return self._resolve(wanted.commit)
            except GitFailed as failed:
                if failed.reason is not EndReason.FAILED:
                    raise
        # A server may refuse to hand out commits by id, and a short id has to be looked for: that takes all history.
        everything = Wanted(wanted.url, wanted.branch, "", "", 0, False)
        self._fetch_refs(everything, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        return self._resolve(wanted.commit)

    def _fetch_refs(self, wanted: Wanted, *refs: str) -> None:
        if wanted.depth:
            depth = [f"--depth={wanted.depth}"]
        else:
            depth = ["--unshallow"] if (self._store / "shallow").exists() else []
        # Names that are gone there make room for others, where all of them are asked for.
        common = ("--force", "--no-tags", "--prune", "--no-recurse-submodules", "--no-auto-gc", "--update-head-ok")
        self._git(self._directory, "fetch", *common, *depth, "--", wanted.url, *refs)

    def _resolve(self, ref: str) -> str:
        return self._git(self._directory, "rev-parse", "--verify", f"{ref}^{{commit}}", quiet=True)

    def _submodules(self, wanted: Wanted) -> None:
        # Stores of submodules have settings of their own, so they are made anew like the one above.
        self._git(self._directory, "submodule", "deinit", "--force", "--all")
        shutil.rmtree(self._store / "modules", ignore_errors=True)
        depth = [f"--depth={wanted.depth}"] if wanted.depth else []
        words = ("submodule", "update", "--init", "--recursive", "--force", "--checkout")
        self._git(self._directory, *words, *depth)
