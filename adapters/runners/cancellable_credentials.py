"""Credentials for a run that may be cancelled while nobody answers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from domain.errors import WorkerError
from domain.runner import CancelRequest, CancelToken, Credential, CredentialSource


class Unanswered(WorkerError):
    """The run was cancelled before the answer came."""


class CancellableSource:
    """Asks ``source`` on a thread of its own, so that a silent server holds no cancelled run.

    That thread ends with the source's own limit, and what it still gets is dropped.
    """

    def __init__(self, source: CredentialSource, cancel: CancelToken) -> None:
        self._source, self._cancel = source, cancel

    def credential(self, credential_id: str) -> Credential:
        """As the source's. Raises Unanswered as well."""
        woken, answers = threading.Event(), list[Credential | Exception]()

        def ask() -> None:
            try:
                answers.append(self._source.credential(credential_id))
            except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
                answers.append(error)
            woken.set()

        wake: Callable[[CancelRequest], None] = lambda _: woken.set()  # noqa: E731
        threading.Thread(target=ask, name="credential", daemon=True).start()
        self._cancel.subscribe(wake)
        try:
            woken.wait()
        finally:
            self._cancel.unsubscribe(wake)
        answer = answers[0] if answers else Unanswered("cancelled while the credential was asked for")
        if isinstance(answer, Exception):
            raise answer
        return answer
