"""What all parts of the transport's contract suite share: the flags, the fixtures, and a worker's link."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import pytest

from adapters.testkit.promises import LIMIT
from adapters.testkit.transport.site import Site
from adapters.testkit.transport.worker_link import WorkerLink
from application.ports import Report, Server


class MakeLink(Protocol):
    def __call__(self, server: Server | None = None) -> WorkerLink: ...


class TransportCases:
    """The flags tell what a medium has; each that is False skips what needs it, and says so."""

    limit = LIMIT  # seconds that any call may take, and that anything may take to come true

    network = True  # connections that somebody else can cut
    raw = True  # a message that is no message can reach the worker
    signs_of_life = True  # a peer that answers a ping
    registers = True  # the server knows its workers by name
    logins = True  # a login that can be wrong
    several_workers = True  # more than one worker at a time
    editable = True  # a task can be edited after it was offered
    cancelable = True  # a task can be ended before it starts
    pulls = True  # no more offers come than there is room for
    declines = True  # an offer that is declined comes again after the time that was asked for
    read_back = True  # tasks can be read
    logs = True  # people read logs while tasks run
    log_offsets = True  # a piece of a log is put at its offset; False: a repeated one is found by the log's history
    progress = True  # output without an end is kept
    knows_tokens = True  # the token is the worker's own: the same one again is the same claim
    report_fields: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Report))  # what the server keeps

    @pytest.fixture
    def site(self) -> Iterator[Site]:
        """Write this one: a server of its own for each test."""
        raise NotImplementedError("give the fixture 'site'")

    @pytest.fixture
    def new_link(self, site: Site) -> Iterator[MakeLink]:
        """Makes workers' ends, not connected yet."""
        made: list[WorkerLink] = []

        def make(server: Server | None = None) -> WorkerLink:
            made.append(WorkerLink(site, server or site.open(), self.limit))
            return made[-1]

        yield make
        for link in made:
            link.end()

    @pytest.fixture
    def link(self, new_link: MakeLink) -> WorkerLink:
        """A connected one."""
        link = new_link()
        link.connect()
        return link

    def needs(self, flag: str) -> None:
        if not getattr(self, flag):
            pytest.skip(f"this transport has none of it: {flag} is False")
