"""The command guard: a rail against accidents, not a boundary against people who mean it.

In the usual (deny) mode it looks at the first word of a command, as tasks rely on; everything a shell can do beyond
that passes. In allow-list mode (``COMMAND_ALLOWED``) it is strict: one simple command of plain words (G78).
"""

from __future__ import annotations

import logging
import os.path
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from domain.errors import InvalidTask

log = logging.getLogger("worker.guard")

BLOCKED = [
    "rm",
    "del",
    "rd",
    "rmdir",
    "format",
    "fdisk",
    "mkfs",
    "dd",
    "shutdown",
    "reboot",
    "halt",
    "poweroff",
    "init",
    "systemctl",
    "service",
    "chmod",
    "chown",
    "sudo",
    "su",
    "passwd",
    "useradd",
    "userdel",
    "mount",
    "umount",
    "parted",
]
# A command by its full path is an ordinary command: only paths that are no program stay refused.
BLOCKED_PATHS = (" / ", "/root", "C:\\", "C:\\Windows", "C:\\System32")
SIMPLE = re.compile(r"[A-Za-z0-9_@%+=:,./ \t-]+")
# Programs (and "." of the shell) that run what their arguments name; a version such as in python3.11 changes nothing.
WRAPPERS = frozenset(
    """
    alias at awk bash batch builtin busybox chroot chrt command coproc csh dash doas env eval exec expect find fish
    flock gawk gdb ionice ksh lua mawk nawk nice node nodejs nohup nsenter parallel perl php pkexec python rbash
    ruby runuser screen script setpriv setsid sh source ssh start-stop-daemon stdbuf strace su sudo systemd-run
    taskset tclsh tcsh time timeout tmux trap unshare watch xargs zsh
    """.split()  # noqa: SIM905 - words read better than 60 lines
)
# Variables that make the shell, the loader or a usual program run something else.
STEERING = re.compile(
    r"PATH|BASH_.*|ENV|IFS|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|CDPATH|LD_.*|GCONV_PATH|PYTHON.*|PERL5.*|RUBY.*|NODE_.*"
    r"|LUA_.*|PHP.*|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|GIT_.*|SSH_.*|.*_RSH|TAR_OPTIONS|MAKEFLAGS|LESS.*"
    r"|.*PAGER|.*EDITOR|VISUAL|SHELL"
)


@dataclass(frozen=True, slots=True)
class CommandGuard:
    """What the ``COMMAND_*`` settings say. Made once; ``check`` may be called from any thread."""

    enabled: bool = True
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = tuple(BLOCKED)
    patterns: tuple[re.Pattern[str], ...] = ()
    paths: tuple[str, ...] = BLOCKED_PATHS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> CommandGuard:
        """Read ``COMMAND_SECURITY_DISABLED``, ``_ALLOWED``, ``_BLOCKED``, ``_BLOCKED_PATTERNS``, ``_BLOCKED_PATHS``."""
        return cls(
            enabled=environment.get("COMMAND_SECURITY_DISABLED") != "true",
            allowed=_items(environment.get("COMMAND_ALLOWED", "")),
            blocked=_items(environment.get("COMMAND_BLOCKED", "")) or tuple(BLOCKED),
            patterns=_patterns(environment.get("COMMAND_BLOCKED_PATTERNS", "")),
            paths=_items(environment.get("COMMAND_BLOCKED_PATHS", "")) or BLOCKED_PATHS,
        )

    def check(self, text: str) -> None:
        """Raises InvalidTask, with the setting that decides, for a command that is not to run."""
        if not self.enabled:
            return
        word = text.split(maxsplit=1)[0]
        if self.allowed:
            self._check_allowed(text, word)
        name = os.path.basename(word)
        if name in self.blocked and name not in self.allowed:
            raise InvalidTask(f"command {name!r} is blocked here (COMMAND_BLOCKED)")
        for pattern in self.patterns:
            if pattern.search(text):
                raise InvalidTask(
                    f"the command matches the blocked pattern {pattern.pattern!r} (COMMAND_BLOCKED_PATTERNS)"
                )
        for path in self.paths:
            if word.startswith(path):
                raise InvalidTask(f"the command's path begins with {path!r} (COMMAND_BLOCKED_PATHS)")

    def check_environment(self, names: Iterable[str]) -> None:
        """Raises InvalidTask for variables of the task by which an allowed command would run others."""
        if not (self.enabled and self.allowed):
            return
        for name in names:
            if STEERING.fullmatch(name):
                raise InvalidTask(
                    f"with COMMAND_ALLOWED set, a task cannot set the variable {name}: it steers what runs"
                )

    def _check_allowed(self, text: str, word: str) -> None:
        if word not in self.allowed:
            raise InvalidTask(f"command {word!r} is not on the list of allowed commands (COMMAND_ALLOWED)")
        if "=" in word or not SIMPLE.fullmatch(text):
            raise InvalidTask(
                "with COMMAND_ALLOWED set, a command is one program with plain arguments: no quotes, no shell operators"
            )
        if os.path.basename(word).rstrip("0123456789.") in WRAPPERS or word == ".":
            raise InvalidTask(f"{word!r} runs other commands and cannot be allowed by COMMAND_ALLOWED")


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _patterns(text: str) -> tuple[re.Pattern[str], ...]:
    found = []
    for item in _items(text):
        try:
            found.append(re.compile(item))
        except re.error as error:
            log.error("COMMAND_BLOCKED_PATTERNS: %r is no regular expression and is left out: %s", item, error)
    return tuple(found)
