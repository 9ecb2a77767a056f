"""A worker that nobody watches."""

from __future__ import annotations

from adapters.guardian.link import Watcher
from adapters.guardian.unguarded import NoWatchdog


def test_who_was_never_there_is_not_lost_whatever_it_is_told() -> None:
    watcher: Watcher = NoWatchdog()
    watcher.failed(ValueError("x"))
    watcher.hello(1.0)
    watcher.started("t", 5, 77)
    watcher.lease("t", 0.0)
    watcher.gone("t")
    watcher.ended("t")
    watcher.beat()
    watcher.close()
    watcher.close()
    assert not watcher.lost


def test_nobody_has_no_identity_and_keeps_no_secrets() -> None:
    watcher: Watcher = NoWatchdog()
    assert (watcher.identity, watcher.secrets()) == ("", {})
