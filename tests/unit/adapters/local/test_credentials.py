"""Credentials without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.local.credentials import LocalCredentials
from domain.errors import NotFound, Refused

MAIL = {"category": "smtp", "name": "the mail server", "value": {"username": "u", "password": "hunter22"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "credentials.json"


def write(path: Path, document: Any, mode: int = 0o600) -> None:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)


def test_one_is_read_from_the_file_anew_each_time(path: Path) -> None:
    source = LocalCredentials(path, {})
    write(path, {"mail": MAIL})
    found = source.credential("mail")
    assert (found.id, found.category, found.name, found.value) == ("mail", "smtp", "the mail server", MAIL["value"])
    assert "hunter22" not in repr(found)
    write(path, {"mail": {"value": {"password": "new"}}})
    again = source.credential("mail")
    assert (again.category, again.name, again.value) == ("", "mail", {"password": "new"})


@pytest.mark.parametrize(
    ("asked", "variable"), [("mail", "MAIL"), ("my mail-2", "MY_MAIL_2"), ("\u00fc", "_"), ("a.b/c", "A_B_C")]
)
def test_a_variable_counts_before_the_file_and_its_name_is_made_of_the_id(
    path: Path, asked: str, variable: str
) -> None:
    write(path, {asked: {"value": {"from": "file"}}})
    source = LocalCredentials(path, {f"CRONJOB_CREDENTIAL_{variable}": json.dumps(MAIL)})
    assert source.credential(asked).value == MAIL["value"]


@pytest.mark.parametrize(
    "document", [None, {}, [], {"mail": None}, {"mail": "x"}, {"mail": {}}, {"mail": {"value": 1}}]
)
def test_what_is_nowhere_is_not_found_and_both_places_are_told(path: Path, document: Any) -> None:
    if document is not None:
        write(path, document)
    with pytest.raises(NotFound, match=f"'mail' is neither in {path} nor in CRONJOB_CREDENTIAL_MAIL"):
        LocalCredentials(path, {}).credential("mail")


@pytest.mark.parametrize("active", [False, 0, "true", None])
def test_one_that_is_switched_off_or_unsure_is_refused(path: Path, active: object) -> None:
    write(path, {"mail": MAIL | {"is_active": active}})
    with pytest.raises(Refused, match="the credential mail is not active"):
        LocalCredentials(path, {}).credential("mail")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_reach_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    write(path, {"mail": MAIL}, mode)
    with pytest.raises(Refused, match="chmod 600 it"):
        LocalCredentials(path, {}).credential("mail")


def test_what_is_no_json_is_refused_without_its_content(path: Path) -> None:
    write(path, "hunter22")
    with pytest.raises(Refused, match="is not readable as JSON") as file:
        LocalCredentials(path, {}).credential("mail")
    with pytest.raises(Refused, match="CRONJOB_CREDENTIAL_MAIL is not a JSON object") as variable:
        LocalCredentials(path, {"CRONJOB_CREDENTIAL_MAIL": "hunter22"}).credential("mail")
    assert "hunter22" not in f"{file.value}{variable.value}"


def test_bytes_that_are_no_text_are_refused_too(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(Refused, match="is not readable as JSON"):
        LocalCredentials(path, {}).credential("mail")
