"""``config check`` says what a start would refuse, all of it at once, and makes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from adapters.config.inspect import inspect
from adapters.config.load import load
from adapters.config.loaded import Loaded
from adapters.runners.builtin import all_runners
from adapters.state.identity import inspect_state
from tests.support.rights import overrides_modes

ROOT = Path(__file__).parent.parent.parent
Check = Callable[..., list[str]]
SERVER = {"api_url": "https://cron.example.com", "auth_token": "t0ken-value"}
MODES = pytest.mark.skipif(overrides_modes(), reason="the modes of files mean nothing to this user")


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "schedule.json").write_text('{"jobs": []}')

    def check(settings: dict[str, Any], assignments: dict[str, str] | None = None, **environment: str) -> list[str]:
        file = tmp_path / "config_worker.json"
        file.write_text(json.dumps(settings))
        return inspect(lambda: load(str(file), assignments or {}, environment), all_runners, inspect_state)

    return check


@pytest.fixture(scope="module")
def leaf() -> trustme.LeafCert:
    return trustme.CA().issue_cert("client.example.com")


@pytest.fixture
def pem(tmp_path: Path, leaf: trustme.LeafCert) -> Path:
    """Files of certificates and keys, good ones and others."""
    key = leaf.private_key_pem.bytes()
    locked = load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")
    )
    files = {
        "cert.pem": leaf.cert_chain_pems[0].bytes(),
        "key.pem": key,
        "both.pem": key + leaf.cert_chain_pems[0].bytes(),
        "other.pem": trustme.CA().issue_cert("x.example.com").private_key_pem.bytes(),
        "locked.pem": locked,
        "junk": b"certainly no certificate",
        "broken.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "empty": b"\n",
        "latin": b"schl\xfcssel-lang",
        "two lines": b"first-line\nsecond-line",
        "known": b"host ssh-ed25519 AAAA\n",
        "token": b"t0ken-value\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "directory").mkdir()
    return tmp_path


def test_settings_that_are_right_are_right(check: Check, pem: Path) -> None:
    assert check({}) == []
    tls = {"ca_file": "cert.pem", "cert_file": "cert.pem", "key_file": "key.pem"}
    assert check({"server": SERVER | {"tls": tls}, "runners": {"ca_file": "cert.pem", "known_hosts": "known"}}) == []
    assert check({"server": SERVER | {"tls": {"cert_file": "both.pem"}}}) == []


@pytest.mark.parametrize(
    ("key", "tls", "why"),
    [
        ("ca_file", {"ca_file": "junk"}, "holds no certificates in PEM form"),
        ("ca_file", {"ca_file": "key.pem"}, "holds no certificates in PEM form"),
        ("ca_file", {"ca_file": "broken.pem"}, "holds no certificates in PEM form"),
        ("ca_file", {"ca_file": "gone"}, "No such file"),
        ("ca_file", {"ca_file": "directory"}, "Is a directory"),
        ("ca_file", {"ca_file": "empty"}, "is empty"),
        ("ca_file", {"ca_file": "nul\0byte"}, "cannot be read"),
        ("cert_file", {"cert_file": "junk", "key_file": "key.pem"}, "holds no certificate in PEM form"),
        ("cert_file", {"cert_file": "cert.pem"}, "name the file that does in server.tls.key_file"),
        ("cert_file", {"cert_file": "gone"}, "No such file"),
        ("key_file", {"cert_file": "cert.pem", "key_file": "junk"}, "holds no private key in PEM form"),
        ("key_file", {"cert_file": "cert.pem", "key_file": "other.pem"}, "not that of the certificate"),
        ("key_file", {"cert_file": "cert.pem", "key_file": "locked.pem"}, "store it without a password"),
        ("key_file", {"key_file": "key.pem"}, "set server.tls.cert_file"),
    ],
)
def test_files_of_tls_that_cannot_be_used_are_told_by_their_key(
    check: Check, pem: Path, key: str, tls: dict[str, str], why: str
) -> None:
    (problem,) = check({"server": SERVER | {"tls": tls}})
    assert problem.startswith(f"{pem}/config_worker.json: server.tls.{key}: ")
    assert why in problem


@pytest.mark.parametrize(
    ("server", "key", "shown"),
    [
        ({"auth_token": "two words"}, "auth_token", "words"),
        ({"auth_token": "schlüssel-lang"}, "auth_token", "lang"),
        ({"auth_token_file": "latin"}, "auth_token_file", "schl"),
        ({"auth_token_file": "two lines"}, "auth_token_file", "second-line"),
    ],
)
def test_an_api_key_that_no_header_can_carry_is_told_and_not_shown(
    check: Check, pem: Path, server: dict[str, str], key: str, shown: str
) -> None:
    (problem,) = check({"server": {"api_url": SERVER["api_url"]} | server})
    assert f"config_worker.json: server.{key}: " in problem
    assert "a header cannot carry" in problem
    assert shown not in problem


@pytest.mark.parametrize(
    ("key", "name", "why"),
    [
        ("ca_file", "gone", "No such file"),
        ("ca_file", "junk", "holds no certificates in PEM form"),
        ("ca_file", "broken.pem", "holds no certificates in PEM form"),
        ("ca_file", "directory", "directory"),
        ("known_hosts", "gone", "No such file"),
        ("known_hosts", "directory", "Is a directory"),
    ],
)
def test_files_of_runners_that_cannot_be_used_are_told(check: Check, pem: Path, key: str, name: str, why: str) -> None:
    (problem,) = check({"runners": {key: name}})
    assert problem.startswith(f"{pem}/config_worker.json: runners.{key}: {pem}/{name} ")
    assert why in problem


@pytest.mark.parametrize("text", ["gone", "here", "/proc/self"])
def test_a_directory_without_control_groups_is_told(check: Check, tmp_path: Path, text: str) -> None:
    (problem,) = check({"execution": {"cgroup": text}})
    assert f"config_worker.json: execution.cgroup: no control groups can be made in {tmp_path / text}" in problem
    assert list((tmp_path / "here").iterdir()) == []


def test_plug_ins_that_cannot_be_loaded_and_categories_without_a_runner_are_told(check: Check) -> None:
    problems = check({"runners": {"plugins": {"x": "no_such_module:X"}}, "worker": {"tasks": ["command", "x", "y"]}})
    assert len(problems) == 2
    assert "config_worker.json: runners.plugins: the runner for 'x'" in problems[0]
    assert "No module named 'no_such_module'" in problems[0]
    assert "config_worker.json: worker.tasks: no runner is there for x, y" in problems[1]


def test_a_worker_that_could_take_nothing_does_not_register_for_everything(check: Check, tmp_path: Path) -> None:
    (_, problem) = check({"worker": {"tasks": ["telepathy"]}})
    assert "worker.tasks: no runner is there for any of them; there are approval, command," in problem


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({"category": "http", "args": {}}, "job 'j': url is missing"),
        ({"category": "http", "args": {"url": "gopher://x"}}, "job 'j': "),
        ({"category": "script", "args": {"language": "cobol"}}, "job 'j': "),
        ({"category": "file", "args": {"action": "eat"}}, "job 'j': "),
        ({"category": "database", "args": {"db_type": "oracle"}}, "job 'j': "),
        ({"category": "htpt", "args": {}}, "did you mean 'http'?"),
        ({"command": ""}, "command is missing"),
        ({"command": "rm -rf /"}, "blocked here (COMMAND_BLOCKED)"),
        ({"command": "true", "time": "0 0 31 4 *"}, "time '0 0 31 4 *'"),
        ({"command": "true", "time": "0 0 30 2 *"}, "time '0 0 30 2 *'"),
    ],
)
def test_a_job_that_would_fail_or_never_run_is_told(
    check: Check, tmp_path: Path, job: dict[str, Any], why: str
) -> None:
    (tmp_path / "schedule.json").write_text(json.dumps({"jobs": [{"name": "j", "time": "* * * * *"} | job]}))
    (problem,) = check({"schedule": {"file": "schedule.json"}})
    assert f"config_worker.json: schedule.file: {tmp_path}/schedule.json: " in problem
    assert why in problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("LOG_LEVELS", "LOG_LEVEL"),
        ("WORKER_NAMES", "WORKER_NAME"),
        ("API_SERVER_URI", "API_SERVER_URL"),
        ("WEBSOCKET_PING_INTERVALL", "WEBSOCKET_PING_INTERVAL"),
        ("COMMAND_ALOWED", "COMMAND_ALLOWED"),
        ("COMAND_ALLOWED", "COMMAND_ALLOWED"),
        ("COMMANDS_ALLOWED", "COMMAND_ALLOWED"),
        ("ALLOWED_COMMANDS", "COMMAND_ALLOWED"),
        ("command_allowed", "COMMAND_ALLOWED"),
        ("COMMAND_BLOCKED_PATTERN", "COMMAND_BLOCKED_PATTERNS"),
        ("COMMAND_BLOCK_PATHS", "COMMAND_BLOCKED_PATHS"),
        ("ALOWED_SCRIPT_DIRS", "ALLOWED_SCRIPT_DIRS"),
        ("FILE_RUNNER_ALLOWED_PATH", "FILE_RUNNER_ALLOWED_PATHS"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_one_that_is_meant(check: Check, name: str, meant: str) -> None:
    assert check({}, **{name: "x"}) == [f"environment {name}: unknown variable; did you mean {meant}?"]


@pytest.mark.parametrize("name", ["LOGLEVEL", "LOGNAME", "COMMAND", "API_HOST", "WORKER_PROCESSES", "SCRIPT_DIR"])
def test_variables_of_other_programs_are_left_alone(check: Check, name: str) -> None:
    assert check({}, **{name: "x"}) == []


def test_a_pattern_of_the_guard_that_is_none_is_told(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMMAND_BLOCKED_PATTERNS", "curl.*, wget(")
    (problem,) = check({})
    assert problem.startswith("environment COMMAND_BLOCKED_PATTERNS: 'wget(' is no regular expression")


def test_a_wrong_type_hides_nothing_else(check: Check, tmp_path: Path) -> None:
    problems = check(
        {
            "log": {"level": 3},
            "worker": {"id": "no uuid", "tasks": [], "concurrency": "many", "nmae": "x"},
            "runners": {"ca_file": "gone", "known_hosts": 7},
            "execution": {"cgroup": "gone"},
            "schedule": {"file": "gone.json"},
        },
        LOG_LEVLE="debug",
    )
    keys = ["log.level", "worker.concurrency", "worker.nmae", "worker.id", "worker.tasks", "runners.known_hosts",
            "runners.ca_file", "execution.cgroup", "environment LOG_LEVLE"]  # fmt: skip
    assert [key for key in keys if not [text for text in problems if key in text]] == []
    assert len([text for text in problems if "known_hosts" in text]) == 1


def test_a_transport_that_cannot_be_had_hides_nothing_else_and_is_not_looked_at(check: Check) -> None:
    problems = check({"transport": "pigeon", "runners": {"ca_file": "gone"}, "schedule": {"file": "gone"}})
    assert [text.split(": ")[1] for text in problems] == ["transport", "runners.ca_file"]


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        ("state_dir", "file", "is a link or no directory"),
        ("state_dir", "file/below", "is a link or no directory"),
        ("state_dir", "link", "is a link or no directory"),
        ("log.file", "here", "is a directory"),
        ("log.file", "file/x.log", "is no directory"),
        ("worker.working_dir", "../file", "is no directory"),
        pytest.param("state_dir", "shut/state", "cannot be written", marks=MODES),
        pytest.param("log.file", "shut/x.log", "cannot be written", marks=MODES),
    ],
)
def test_a_place_that_cannot_be_used_is_told(check: Check, tmp_path: Path, key: str, text: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    (tmp_path / "shut").mkdir(mode=0o500)
    (problem,) = check({}, {key: text})
    assert problem.startswith(f"command line: {key}: ")
    assert why in problem


def test_a_state_directory_of_another_worker_is_told(check: Check, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "identity.json").write_text('{"id": "11111111-1111-4111-8111-111111111111"}')
    (problem,) = check({"worker": {"id": "6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12"}})
    assert "config_worker.json: worker.id: is 6f0c7a52" in problem
    (tmp_path / "state" / "identity.json").write_text("damaged")
    (problem,) = check({})
    assert "restore the file" in problem


def test_nothing_is_made_by_looking(check: Check, tmp_path: Path) -> None:
    check({"state_dir": "a/b", "log": {"file": "c/d.log"}, "worker": {"working_dir": "e"}})
    assert {path.name for path in tmp_path.iterdir()} == {"here", "schedule.json", "config_worker.json"}
    assert list((tmp_path / "here").iterdir()) == []


def test_relative_paths_are_meant_from_the_file_s_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "config_worker.json").write_text(
        json.dumps(
            {
                "execution": {"cgroup": "group"},
                "runners": {"script_dirs": ["scripts", "/opt"], "file_roots": ["data/*"], "known_hosts": "~/known"},
            }
        )
    )
    loaded: Loaded = load(str(tmp_path / "config_worker.json"), environment={})
    assert loaded.cgroup == str(tmp_path / "group")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(loaded.path(loaded.settings.runners.known_hosts)) == "/home/me/known"
    assert str(loaded.path("~nobody-knows/x")) == f"{tmp_path}/~nobody-knows/x"
    registry = all_runners(loaded, [])
    file, script = registry.create("file"), registry.create("script")
    (tmp_path / "data" / "x").mkdir(parents=True)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "hello.sh").write_text("echo hello")
    file.parse_args("", json.dumps({"action": "stat", "path": str(tmp_path / "data" / "x")}))
    assert file.execute().status == "success"
    script.parse_args("", json.dumps({"type": "file", "language": "shell", "file": str(tmp_path / "scripts/hello.sh")}))
    result = script.execute()
    assert (result.status, result.output.strip()) == ("success", "hello")


def test_a_start_that_is_refused_names_source_and_key(tmp_path: Path) -> None:
    (tmp_path / "config_worker.json").write_text('{"execution": {"cgroup": "gone"}}')
    done = subprocess.run(
        [sys.executable, str(ROOT / "bootstrap.py"), "run"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 78
    assert f"config_worker.json: execution.cgroup: no control groups can be made in {tmp_path}/gone" in done.stderr
