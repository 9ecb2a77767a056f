"""What is asked of an SFTP server that knows no extension."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.runners.file.ports import FileTrouble
from adapters.runners.file.sftp import Sftp
from adapters.runners.file.sftp_words import Missing
from tests.support.sftp_peer import PasswordPeer


def test_a_name_of_any_characters_is_listed_read_and_deleted(sftp: Sftp, there: Path) -> None:
    path = there / "café \n\\ x"
    path.write_bytes(b"text")
    assert [(name, info.st_size) for name, info in sftp.entries(there)] == [(path.name, 4)]
    with sftp.reading(path) as (content, info):
        assert (content.read(), info.st_size) == (b"text", 4)
    sftp.delete(path)
    assert os.listdir(there) == []


def test_a_link_is_seen_as_a_link(sftp: Sftp, there: Path) -> None:
    (there / "link").symlink_to("nowhere")
    assert sftp.look(there / "link").st_mode & 0o170000 == 0o120000


def test_what_is_not_there_is_told_apart(sftp: Sftp, there: Path) -> None:
    with pytest.raises(Missing, match=f"peer: {there}/x: no such file"):
        sftp.look(there / "x")
    with pytest.raises(Missing), sftp.reading(there / "x"):
        raise AssertionError("it was opened")


def test_a_new_file_is_whole_and_like_its_source_and_never_in_place_of_another(sftp: Sftp, there: Path) -> None:
    source = there / "source"
    source.write_bytes(b"x" * 100_000)
    source.chmod(0o640)
    os.utime(source, (7, 7))
    with sftp.writing(there / "copy", 0o600, source.stat()) as out:
        out.write(source.read_bytes())
    made = (there / "copy").stat()
    assert ((there / "copy").read_bytes(), made.st_mode & 0o777, made.st_mtime) == (b"x" * 100_000, 0o640, 7)
    with pytest.raises(FileTrouble), sftp.writing(there / "copy", 0o600):
        raise AssertionError("it was opened")


def test_a_server_that_forgets_what_it_took_is_found_out(
    sftp: Sftp, peer: PasswordPeer, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "room", 10)
    monkeypatch.setattr(peer, "forgetful", True)
    with pytest.raises(FileTrouble, match="the server holds 0 of 11 bytes"), sftp.writing(there / "a", 0o600) as out:
        out.write(b"x" * 11)


def test_another_files_place_is_taken_also_where_the_server_cannot_do_so_at_once(sftp: Sftp, there: Path) -> None:
    (there / "old").write_text("old")
    (there / "new").write_text("new")
    sftp.rename(there / "new", there / "old")
    sftp.rename(there / "old", there / "free")
    assert ((there / "free").read_text(), os.listdir(there)) == ("new", ["free"])


def test_a_path_that_leads_elsewhere_is_refused(sftp: Sftp, there: Path) -> None:
    sftp.at(there)
    with pytest.raises(FileTrouble, match="leads to"):
        sftp.at(there / "inner" / "..")


def test_a_server_that_does_not_tell_its_file_systems_is_asked_once(
    sftp: Sftp, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp, "_tells_devices", True)
    asked: list[object] = []
    plain = sftp._client._request

    def request(*words: object) -> object:
        asked.append(words)
        return plain(*words)

    monkeypatch.setattr(sftp._client, "_request", request)
    assert (sftp.device(there), sftp.device(there)) == (None, None)
    assert len(asked) == 1


def test_a_directory_that_cannot_be_listed_is_told(
    sftp: Sftp, peer: PasswordPeer, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "unreadable", there.name)
    with pytest.raises(FileTrouble, match="Permission denied"):
        list(sftp.entries(there))
