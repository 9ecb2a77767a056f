"""The worker's end of the socket pair to its guardian."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from adapters.guardian import link as module
from adapters.guardian.guardian import FD_VARIABLE
from adapters.guardian.link import GuardianLink, find_watcher
from adapters.guardian.unguarded import NoWatchdog
from adapters.process.killing import identity_of


class Pair:
    """A link, and the guardian's end of it."""

    def __init__(self) -> None:
        self.guardian, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guardian.settimeout(10)
        self.link = GuardianLink(theirs.detach())

    def heard(self) -> object:
        return json.loads(self.guardian.recv(4096))

    def fill(self) -> int:
        """Tell of tasks until the guardian has no room for more; returns how many."""
        number = 0
        while not self.link._unsent:
            self.link.gone(f"t{number}")
            number += 1
        return number


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.link.close()
    made.guardian.close()


def test_each_call_is_one_message(pair: Pair) -> None:
    link = pair.link
    link.hello(90.0)
    link.failed(ValueError("x" * 2000))
    link.started("t", 5, 77)
    link.lease("t", 12.5)
    link.gone("t")
    link.ended("t")
    link.beat()
    assert [pair.heard() for _ in range(7)] == [
        {"hello": {"shutdown": 90.0}}, {"failed": f"ValueError: {'x' * 988}"}, {"start": ["t", 5, 77]},
        {"lease": ["t", 12.5]}, {"gone": "t"}, {"end": "t"}, {"beat": 1},
    ]  # fmt: skip
    assert not link.lost


def test_the_guardian_is_known_by_who_made_the_pair_and_children_do_not_inherit_it(pair: Pair) -> None:
    assert pair.link.identity == identity_of(os.getpid())
    assert not pair.link._socket.get_inheritable()


def test_secrets_come_in_a_file_and_no_descriptor_is_left(pair: Pair) -> None:
    secrets = {"API_KEY": "x" * 100_000}
    before = len(os.listdir("/proc/self/fd"))

    def answer() -> None:
        assert pair.heard() == {"secrets": 1}
        with open(os.memfd_create("secrets"), "w+b") as file:
            file.write(json.dumps(secrets).encode())
            file.seek(0)
            socket.send_fds(pair.guardian, [b"secrets"], [file.fileno()])

    thread = threading.Thread(target=answer)
    thread.start()
    assert pair.link.secrets() == secrets
    thread.join()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_guardian_that_is_gone_is_told_and_no_call_raises(pair: Pair) -> None:
    pair.guardian.close()
    with pytest.raises(ConnectionError):
        pair.link.secrets()
    pair.link.beat()
    pair.link.lease("t", 1.0)
    assert pair.link.lost


def test_what_a_guardian_has_no_room_for_follows_in_order_and_no_late_sign_of_life_among_it(pair: Pair) -> None:
    count = pair.fill()
    pair.link.beat()
    pair.link.ended("last")
    assert not pair.link.lost
    found = [pair.heard() for _ in range(count - 1)]
    pair.link.beat()
    found += [pair.heard() for _ in range(3)]
    assert found == [*({"gone": f"t{number}"} for number in range(count)), {"end": "last"}, {"beat": 1}]


def test_a_guardian_that_reads_nothing_for_long_is_taken_for_gone(pair: Pair, mocker: MockerFixture) -> None:
    mocker.patch.object(module, "UNREAD", 3)
    pair.fill()
    for _ in range(3):
        assert not pair.link.lost
        pair.link.ended("t")
    assert pair.link.lost


def test_the_guardian_is_found_by_a_variable_that_tasks_do_not_inherit(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FD_VARIABLE, str(os.dup(pair.link._socket.fileno())))
    watcher = find_watcher()
    watcher.beat()
    watcher.close()
    assert pair.heard() == {"beat": 1}
    assert FD_VARIABLE not in os.environ
    for text in (None, "", "x"):
        if text is not None:
            monkeypatch.setenv(FD_VARIABLE, text)
        assert isinstance(find_watcher(), NoWatchdog)
        assert FD_VARIABLE not in os.environ
