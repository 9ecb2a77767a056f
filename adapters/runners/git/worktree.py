"""A working copy of one repository: fetch what is wanted, check it out, tell what changed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.process.ports import Command, Exit
from adapters.runners.command import ProcessOptions
from adapters.runners.git.access import options as hardened
from adapters.runners.git.directory import GitFailed, alone, empty
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


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git with fixed argument lists; raises GitFailed with git's own words."""

    run: Callable[[Command], Exit]
    environment: Mapping[str, str]
    log: Callable[[bytes], None]
    options: ProcessOptions
    task_id: str

    def __call__(self, directory: Path, *words: str, quiet: bool = False) -> str:
        ended = self.run(
            Command(
                argv=("git", *hardened(), *words),
                cwd=directory,
                environment=self.environment,
                log=(lambda _: None) if quiet else self.log,
                keep=self.options.keep,
                grace=self.options.grace,
                task_id=self.task_id,
            )
        )
        if ended.reason is EndReason.COMPLETED:
            return ended.stdout.decode("utf-8", "replace").strip()
        told = ended.stderr.decode("utf-8", "replace").strip()[-2000:]
        reason = EndReason.FAILED if ended.reason is EndReason.EXIT_CODE else ended.reason
        raise GitFailed(f"git {words[0]} failed: {told or ended.error}", reason, ended.exit_code)


class Worktree:
    def __init__(self, git: Git, directory: Path) -> None:
        self._git = git
        self._directory = directory
        self._store = directory / ".git"

    def bring(self, wanted: Wanted) -> Done:
        """Clone or update, then check out. A failed clone leaves the directory as empty as it was."""
        if self._store.is_symlink() or (self._store.exists() and not self._store.is_dir()):
            raise GitFailed(f"{self._store} is not a directory: this is no working copy of this worker's making")
        fresh = not self._store.exists()
        if fresh and any(self._directory.iterdir()):
            raise GitFailed(f"{self._directory} is not empty and no git repository; clean replaces it")
        with alone(self._directory) as known:
            if known and not fresh:
                self._unlock()
            try:
                return self._bring(wanted, fresh)
            except BaseException:
                if fresh:
                    empty(self._directory)
                raise

    def _unlock(self) -> None:
        """A git that was killed leaves locks, which would end every later run; whoever held one is gone by now."""
        locks = list(self._store.glob("*.lock"))
        if not (self._store / "refs").is_symlink():
            locks += (self._store / "refs").rglob("*.lock")
        for lock in locks:
            lock.unlink(missing_ok=True)

    def _bring(self, wanted: Wanted, fresh: bool) -> Done:
        if fresh:
            self._git(self._directory, "init", "--quiet", quiet=True)
        self._reset_settings(wanted.url)
        before = EMPTY_TREE if fresh else self._head()
        target = self._fetch(wanted)
        if wanted.tag or wanted.commit:
            self._git(self._directory, "checkout", "--force", "--detach", target, "--")
        else:
            self._git(self._directory, "checkout", "--force", "--no-track", "-B", wanted.branch, target, "--")
        if wanted.submodules:
            self._submodules(wanted, fresh)
        counts = self._git(self._directory, "diff", "--shortstat", "--no-ext-diff", "--no-textconv", before, target)
        found = {what: int(number) for number, what in COUNTS.findall(counts)}
        return Done(
            "clone" if fresh else "pull", target, found.get("file", 0), found.get("insertion", 0),
            found.get("deletion", 0),
        )  # fmt: skip

    def _reset_settings(self, url: str) -> None:
        """Whatever an earlier task or run left there (tokens, filters, aliases, other remotes) is gone (GIT2, GIT5)."""
        for name in ("config.worktree", "commondir", "info/attributes", "objects/info/alternates", "config.lock"):
            (self._store / name).unlink(missing_ok=True)
        shutil.rmtree(self._store / "hooks", ignore_errors=True)
        text = (
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
            f'[remote "origin"]\n\turl = "{url}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'
        )
        descriptor, path = tempfile.mkstemp(dir=self._store)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path, self._store / "config")

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
            self._fetch_refs(wanted, f"+{ref}:{ref}")
        elif wanted.commit:
            return self._fetch_commit(wanted)
        else:
            ref = f"refs/remotes/origin/{wanted.branch}"
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
        common = ("--force", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--update-head-ok")
        self._git(self._directory, "fetch", *common, *depth, "--", wanted.url, *refs)

    def _resolve(self, ref: str) -> str:
        return self._git(self._directory, "rev-parse", "--verify", f"{ref}^{{commit}}", quiet=True)

    def _submodules(self, wanted: Wanted, fresh: bool) -> None:
        if not fresh:
            # Stores of submodules have settings of their own, so they are made anew like the one above.
            self._git(self._directory, "submodule", "deinit", "--force", "--all")
            shutil.rmtree(self._store / "modules", ignore_errors=True)
        depth = [f"--depth={wanted.depth}"] if wanted.depth else []
        words = ("submodule", "update", "--init", "--recursive", "--force", "--checkout")
        self._git(self._directory, *words, *depth)
