"""As whom a file task enters another machine."""

from __future__ import annotations

import io
from typing import Any

import paramiko
import pytest

from adapters.runners.file.login import Login, login_of
from adapters.runners.file.task import FileArgs
from domain.errors import InvalidTask
from domain.runner import Credential


def login(category: str, username: str = "", /, **value: Any) -> Login:
    args = FileArgs(host="h", username=username)
    return login_of(args, Credential("c", category, "deploy", value), "")


@pytest.fixture(scope="module")
def key() -> paramiko.ECDSAKey:
    return paramiko.ECDSAKey.generate()


def text_of(key: paramiko.ECDSAKey, passphrase: str | None = None) -> str:
    out = io.StringIO()
    key.write_private_key(out, passphrase)
    return out.getvalue()


def test_the_user_is_the_tasks_then_the_credentials_then_root() -> None:
    assert login("username_password", " ada ", username="bob", password="p").username == "ada"
    assert login("username_password", username=" bob ", password="p").username == "bob"
    assert login("username_password", username=7, password="p").username == "root"


@pytest.mark.parametrize(
    ("category", "value", "told"),
    [
        ("api_token", {"token": "t"}, "is a api_token: remote files take"),
        ("username_password", {"username": "u"}, "has no password"),
        ("username_password", {"password": 7}, "has no password"), ("ssh_private_key", {"private_key": ""}, "has no private_key"),
    ],
)  # fmt: skip
def test_a_credential_that_does_not_fit_is_told_by_its_name(category: str, value: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidTask, match=f"credential deploy {told}"):
        login(category, **value)


@pytest.mark.parametrize("passphrase", [None, "s3cret"])
def test_a_key_is_read_without_its_last_newline_and_with_those_of_windows(
    key: paramiko.ECDSAKey, passphrase: str | None
) -> None:
    text = text_of(key, passphrase).strip().replace("\n", "\r\n")
    value = {"private_key": text} | ({"passphrase": passphrase} if passphrase else {})
    found = login("ssh_private_key", **value).private_key()
    assert found is not None
    assert found.get_base64() == key.get_base64()


def test_a_key_that_cannot_be_read_is_told_without_it(key: paramiko.ECDSAKey) -> None:
    locked = text_of(key, "s3cret")
    for value, told in (
        ({"private_key": locked}, "needs a passphrase"),
        ({"private_key": locked, "passphrase": "wr0ng-one"}, "a wrong passphrase"),
        ({"private_key": "rubbish-text"}, "no Ed25519"),
    ):
        with pytest.raises(InvalidTask, match=told) as caught:
            login("ssh_private_key", **value).private_key()
        assert not [secret for secret in ("wr0ng-one", "rubbish-text") if secret in str(caught.value)]


def test_a_password_is_no_key_and_in_no_text() -> None:
    made = login("username_password", password="hunter2")
    assert (made.private_key(), made.password(), made.port) == (None, "hunter2", 22)
    assert "hunter2" not in repr(made)


def test_port_and_known_hosts_are_the_tasks_else_the_usual_ones() -> None:
    credential = Credential("c", "username_password", "deploy", {"password": "p"})
    usual = login_of(FileArgs(host="h", port=0), credential, "h ssh-ed25519 KEY")
    own = login_of(FileArgs(host="h", port=2222, known_hosts="h ssh-ed25519 OWN"), credential, "h ssh-ed25519 KEY")
    assert (usual.port, usual.hosts.of("h", 22).judge("ssh-ed25519", "KEY")) == (22, "known")
    assert (own.port, own.hosts.of("h", 22).judge("ssh-ed25519", "OWN")) == (2222, "known")
