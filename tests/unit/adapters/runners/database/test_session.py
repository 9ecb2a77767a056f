"""Connections that another thread can end, also while they are being made."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from adapters.runners.database.session import Cancelled, Connecting, cut


def test_what_was_connected_is_given_to_who_waits() -> None:
    closed: list[str] = []
    assert Connecting(lambda: "line", closed.append).run() == "line"
    assert closed == []


def test_the_drivers_own_error_is_raised_where_it_is_waited_for() -> None:
    def refuse() -> str:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(ConnectionRefusedError, match="nobody there"):
        Connecting(refuse, lambda _: None).run()


def test_nobody_waits_for_a_connection_that_was_given_up_and_what_still_comes_is_closed() -> None:
    trying, let_go, closed = threading.Event(), threading.Event(), threading.Event()

    def connect() -> str:
        trying.set()
        let_go.wait(20)
        return "late"

    connecting = Connecting(connect, lambda _: closed.set())

    def abandon() -> None:
        trying.wait(10)
        connecting.abandon()

    abandoning = threading.Thread(target=abandon)
    abandoning.start()
    with pytest.raises(Cancelled):
        connecting.run()
    assert not closed.is_set()
    let_go.set()
    assert closed.wait(10)
    abandoning.join()


def test_one_that_is_given_up_before_it_begins_is_closed_as_well() -> None:
    closed = threading.Event()
    connecting = Connecting(lambda: "line", lambda _: closed.set())
    connecting.abandon()
    with pytest.raises(Cancelled):
        connecting.run()
    assert closed.wait(10)


def test_a_connection_is_cut_under_its_driver_who_keeps_the_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        cut(ours.fileno())
        assert (ours.recv(1), theirs.recv(1)) == (b"", b"")
        assert os.fstat(ours.fileno())


def test_a_descriptor_that_is_no_socket_or_closed_is_left() -> None:
    with open(os.devnull) as file:
        cut(file.fileno())
        assert os.fstat(file.fileno())
        closed = os.dup(file.fileno())
    os.close(closed)
    cut(closed)
