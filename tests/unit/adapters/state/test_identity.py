"""Who this worker is: made once, kept, never silently replaced."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from adapters.state.identity import default_name, inspect_state, private_directory, worker_id
from domain.errors import ConfigError

ID = "6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12"
OTHER = "11111111-2222-4333-8444-555555555555"


def files(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_directory_is_made_private_and_one_that_is_open_is_closed(tmp_path: Path) -> None:  # G66
    made = private_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o755)
    assert private_directory(made) == made
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_link_a_file_and_what_belongs_to_another_are_refused(tmp_path: Path, mocker: MockerFixture) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="link is a link or no directory"):
        private_directory(tmp_path / "link")
    with pytest.raises(ConfigError, match="file cannot be used: File exists"):
        private_directory(tmp_path / "file")
    with pytest.raises(ConfigError, match="below cannot be used: Not a directory"):
        private_directory(tmp_path / "file" / "below")
    mocker.patch("os.geteuid", return_value=os.geteuid() + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        private_directory(tmp_path / "target")


def test_an_identity_is_made_once_and_kept_privately(tmp_path: Path) -> None:
    made = worker_id(tmp_path, "")
    assert worker_id(tmp_path, "") == worker_id(tmp_path, made) == made
    assert json.loads((tmp_path / "identity.json").read_text()) == {"id": made}
    assert stat.S_IMODE((tmp_path / "identity.json").stat().st_mode) == 0o600
    assert files(tmp_path) == ["identity.json"]


def test_a_configured_identity_is_kept_in_one_spelling_and_another_one_is_refused(tmp_path: Path) -> None:
    assert worker_id(tmp_path, ID.upper()) == ID
    assert worker_id(tmp_path, "") == ID
    with pytest.raises(ConfigError, match=f"worker.id: is {OTHER}, but this state directory belongs to worker {ID}"):
        worker_id(tmp_path, OTHER)
    assert worker_id(tmp_path, "") == ID


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"id": 5}', b'{"id": "x"}', b'"x"', b"null", b"\xff"])
def test_a_damaged_file_is_told_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.json"
    path.write_bytes(content)
    for configured in ("", ID):
        with pytest.raises(ConfigError, match=f"{path}: (is damaged|cannot be read)"):
            worker_id(tmp_path, configured)
    assert path.read_bytes() == content


def test_an_identity_that_cannot_be_kept_is_not_used_and_leaves_nothing(tmp_path: Path, mocker: MockerFixture) -> None:
    mocker.patch("os.replace", side_effect=OSError(28, "No space left on device"))
    with pytest.raises(ConfigError, match="cannot be kept there: No space left"):
        worker_id(tmp_path, "")
    assert files(tmp_path) == []


def test_a_name_tells_the_machine_and_the_worker_and_is_short(mocker: MockerFixture) -> None:
    mocker.patch("socket.gethostname", return_value="h" * 100)
    assert default_name(ID) == f"{'h' * 60}-6f0c7a52"


def test_an_inspection_tells_what_a_start_would_refuse_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    state = tmp_path / "state"
    assert list(inspect_state(state / "below", ID)) == []
    assert not state.exists()
    for wrong in ("file", "file/below", "link"):
        assert [key for key, _ in inspect_state(tmp_path / wrong, "")] == ["state_dir"]
    worker_id(private_directory(state), ID)
    assert list(inspect_state(state, ID)) == []
    ((key, text),) = inspect_state(state, OTHER)
    assert (key, text.startswith(f"is {OTHER}, but")) == ("worker.id", True)


def test_an_inspection_tells_a_directory_of_another_user_unless_root_asks(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    mocker.patch("os.geteuid", return_value=os.stat(tmp_path).st_uid + 1)
    ((key, text),) = inspect_state(tmp_path, "")
    assert (key, "belongs to another user" in text) == ("state_dir", True)
    mocker.patch("os.geteuid", return_value=0)
    assert list(inspect_state(tmp_path, "")) == []
