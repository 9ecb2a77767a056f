"""Credentials for a run that may be cancelled while nobody answers."""

from __future__ import annotations

import threading

import pytest

from adapters.runners.cancellable_credentials import CancellableSource, Unanswered
from domain.errors import NotFound
from domain.result import EndReason
from domain.runner import CancelRequest, CancelToken, Credential
from tests.support.runner_fakes import Keys


class Silent:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()

    def credential(self, credential_id: str) -> Credential:
        self.asked.set()
        self.let_go.wait(20)
        raise NotFound(credential_id)


def test_an_answer_is_that_of_the_source() -> None:
    keys = Keys("api_token", token="t")
    assert CancellableSource(keys, CancelToken()).credential("c1").value == {"token": "t"}
    assert keys.asked == ["c1"]


def test_an_error_is_that_of_the_source() -> None:
    silent = Silent()
    silent.let_go.set()
    with pytest.raises(NotFound, match="c1"):
        CancellableSource(silent, CancelToken()).credential("c1")


def test_a_cancel_ends_the_wait_for_a_source_that_is_silent() -> None:
    silent, token = Silent(), CancelToken()

    def cancel() -> None:
        silent.asked.wait(10)
        token.cancel(CancelRequest(EndReason.STOPPED))

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    with pytest.raises(Unanswered):
        CancellableSource(silent, token).credential("c1")
    silent.let_go.set()
    cancelling.join()


def test_a_run_that_is_cancelled_already_waits_for_nobody() -> None:
    silent, token = Silent(), CancelToken()
    token.cancel(CancelRequest(EndReason.STOPPED))
    with pytest.raises(Unanswered):
        CancellableSource(silent, token).credential("c1")
    silent.let_go.set()
