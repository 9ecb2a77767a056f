"""Settings: sources, precedence, provenance, and errors that help."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.apiserver.key import key_provider
from adapters.apiserver.settings import VARIABLES, ServerSection, WebSocketSection
from adapters.config.load import load
from adapters.config.loaded import Loaded
from adapters.config.settings import keys
from adapters.config.sources import ENVIRONMENT, tolerant
from adapters.local.credentials import LocalCredentials
from adapters.runners.command import CommandRunner
from adapters.runners.file.runner import ROOTS
from adapters.runners.plugins import load_runners
from adapters.runners.script import DIRECTORIES
from adapters.state.identity import default_name, private_directory, worker_id
from domain.errors import ConfigError, NotFound, Refused
from domain.runner import RunnerRegistry

ROOT = Path(__file__).parent.parent.parent


def load_text(tmp_path: Path, text: str, **environment: str) -> Loaded:
    file = tmp_path / "config_worker.json"
    file.write_text(text)
    return load(str(file), environment=environment)


def key_provider_of(loaded: Loaded) -> Callable[[], str]:
    return key_provider(loaded, lambda _: None)


def test_the_file_that_ships_is_local() -> None:
    loaded = load(str(ROOT / "config_worker.json"), environment={})
    assert loaded.transport.name == "local"


def test_a_server_and_a_token_are_all_it_takes_to_join() -> None:
    environment = {"API_SERVER_URL": "https://cron.example.com", "API_AUTH_TOKEN": "t0ken-value"}
    loaded = load(str(ROOT / "config_worker.json"), environment=environment)
    assert loaded.transport.name == "apiserver"
    assert key_provider_of(loaded)() == "t0ken-value"


def test_the_directories_of_tasks_are_those_of_the_runners_as_a_library() -> None:
    runners = load(str(ROOT / "config_worker.json"), environment={}).settings.runners
    assert (tuple(runners.file_roots), tuple(runners.script_dirs)) == (ROOTS, DIRECTORIES)


def test_later_sources_win_and_each_value_knows_its_source(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"worker": {"name": "file", "description": "file", "concurrency": 3}}')
    loaded = load(str(file), {"worker.name": "line"}, {"WORKER_NAME": "env", "WORKER_DESCRIPTION": "env"})
    worker = loaded.settings.worker
    assert (worker.name, worker.description, worker.concurrency) == ("line", "env", 3)
    sources = loaded.sources
    assert sources["worker.name"] == "command line"
    assert sources["worker.description"] == "environment WORKER_DESCRIPTION"
    assert sources["worker.concurrency"] == str(file)


def test_the_original_s_flat_file_is_read(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "name": "w1",
            "id": "6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12",
            "description": "d",
            "working_dir": "/srv",
            "metadata": {"tasks": ["default", "command"]},
        }
    )
    worker = load_text(tmp_path, text).settings.worker
    assert (worker.name, worker.id[:4], worker.working_dir, worker.tasks) == (
        "w1",
        "6f0c",
        "/srv",
        ["default", "command"],
    )


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("WORKER_TASKS_LIST", " default , command ,", "worker.tasks", ["default", "command"]),
        ("WORKER_CONCURRENCY", "7", "worker.concurrency", 7),
        ("WEBSOCKET_PING_INTERVAL", "25", "websocket.ping_interval", 25),
        ("LOG_LEVEL", "warning", "log.level", "WARN"),
        ("API_URL", "https://old/api/v1", "server.api_url", "https://old/api/v1"),
        ("WORKER_STATE_DIR", "/x", "state_dir", "/x"),
        ("LOG_MAX_SIZE", "5", "log.max_size", 5),
        ("API_ALLOW_PLAIN_HTTP", "true", "server.allow_plain_http", True),
    ],
)
def test_variables_are_read_in_their_own_type(tmp_path: Path, name: str, text: str, key: str, value: object) -> None:
    found: object = load_text(tmp_path, "{}", **{name: text, "API_KEY": "k-value"}).settings
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize(("text", "seconds"), [('"90s"', 90), ('"1.5m"', 90), ('"500ms"', 0.5), ("7", 7), ("0.5", 0.5)])
def test_durations_are_seconds_or_have_a_unit(tmp_path: Path, text: str, seconds: float) -> None:
    loaded = load_text(tmp_path, f'{{"execution": {{"grace": {text}, "default_timeout": {text}}}}}')
    assert loaded.settings.execution.grace == loaded.settings.execution.default_timeout == seconds


def test_a_duration_in_a_variable_may_have_a_unit_too(tmp_path: Path) -> None:
    assert load_text(tmp_path, "{}", WEBSOCKET_PING_INTERVAL="30s").section(WebSocketSection).ping_interval == 30


@pytest.mark.parametrize(
    ("text", "address"),
    [("wss://x/api/v1/", "https://x/api/v1"), ("ws://localhost:1", "http://localhost:1"), ("https://x/", "https://x")],
)
def test_the_address_may_be_that_of_the_websocket(tmp_path: Path, text: str, address: str) -> None:
    assert load_text(tmp_path, "{}", API_URL=text, API_KEY="k-value").section(ServerSection).api_url == address


def test_thousands_of_digits_in_a_variable_are_a_mistake_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment WORKER_CONCURRENCY"):
        load_text(tmp_path, "{}", WORKER_CONCURRENCY="9" * 5000)


def test_a_misspelt_variable_without_a_value_is_not_set(tmp_path: Path) -> None:
    assert load_text(tmp_path, "{}", WORKER_NAMES="").settings.worker.name == ""


def test_a_later_key_wins_over_an_earlier_key_file_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("file-token")
    by_file = '{"server": {"api_url": "https://x", "auth_token_file": "token"}}'
    by_value = '{"server": {"api_url": "https://x", "auth_token": "value-token"}}'
    assert key_provider_of(load_text(tmp_path, by_file, API_KEY="later-token"))() == "later-token"
    assert key_provider_of(load_text(tmp_path, by_value, API_AUTH_TOKEN_FILE="token"))() == "file-token"


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert load_text(tmp_path, "{}", WORKER_NAME="", API_URL=" ").transport.name == "local"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"worker": {"nmae": "x"}}', ["worker.nmae", "did you mean worker.name"]),
        ('{"worker": {"concurrency": "many"}}', ["worker.concurrency", "integer", "'many'"]),
        ('{"worker": {"concurrency": 0}}', ["worker.concurrency", "greater than 0"]),
        ('{"worker": []}', ["worker", "object"]),
        ('{"worker": {"id": "not a uuid"}}', ["worker.id", "uuid"]),
        ('{"transport": "pigeon"}', ["transport", "apiserver"]),
        ('{"server": {"api_url": "https://x"}}', ["server.auth_token", "API_AUTH_TOKEN"]),
        ('{"worker": {"tasks": []}}', ["worker.tasks"]),
        ('{"websocket": {"message_separator": "--"}}', ["websocket.message_separator", "223399AABB2233CC"]),
        ('{\n  "worker": oops}', ["line 2, column 13"]),
        ("[]", ["one JSON object"]),
        ("[" * 100_000, ["nested too deeply"]),
        ('{"worker": {"concurrency": %s}}' % ("9" * 5000), ["more digits"]),
        ('{"worker": {"name": "a"}, "worker": {}}', ["'worker' stands twice"]),
        ('{"wroker": {}}', ["wroker: unknown key; did you mean worker?"]),
        ('{"execution": {"default_timeout": 1e999}}', ["execution.default_timeout", "inf"]),
        ('{"execution": {"grace": "20 weeks"}}', ["execution.grace", "valid number"]),
        ('{"server": {"api_url": "ftp://x", "auth_token": "t0ken-value"}}', ["server.api_url", "https://host:port"]),
        ('{"server": {"api_url": "http://x", "auth_token": "t0ken-value"}}', ["server.allow_plain_http"]),
        ('{"server": {"api_url": "https://x", "auth_token": "t0ken-value", "proxy": "socks://p"}}', ["server.proxy"]),
        ('{"server": {"api_url": "https://x", "auth_token_file": "none"}}', ["server.auth_token_file", "No such file"]),
        ('{"server": {"auth_token": "t0ken-value", "auth_token_file": "x"}}', ["leave one of them out"]),
    ],
)
def test_a_mistake_names_source_key_and_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    for part in [*parts, "config_worker.json"] if "auth_token" not in parts[0] else parts:
        assert part.lower() in str(caught.value).lower()


def test_all_mistakes_are_told_at_once_and_no_secret_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            tmp_path, '{"worker": {"nmae": 1, "concurrency": -1}, "server": {"auth_token": 12345678}}', WORKER_NAMES="x"
        )
    text = str(caught.value)
    assert text.count("\n") == 3
    assert "did you mean WORKER_NAME?" in text
    assert "12345678" not in text


def test_a_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load(str(tmp_path / "no.json"), environment={})
    with pytest.raises(ConfigError, match="WORKER_CONFIG"):
        load(environment={"WORKER_CONFIG": "/no.json"})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "config_worker.json").write_text('{"worker": {"name": "beside"}}')
    assert load(environment={}, program=tmp_path / "bin" / "bootstrap.py").settings.worker.name == "beside"
    (tmp_path / "config_worker.json").write_text('{"worker": {"name": "here"}}')
    assert load(environment={}, program=tmp_path / "bin" / "bootstrap.py").settings.worker.name == "here"


def test_shown_settings_hide_the_token(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, '{"server": {"api_url": "https://x", "auth_token": "t0ken-value"}}')
    rows = loaded.rows()
    assert [key for key, _, _ in rows] == keys(loaded.model)
    assert "t0ken-value" not in str(rows)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.sampled_from(['// a "comment" , }', '/* ] , " */']))
def test_comments_and_dangling_commas_change_nothing(value: object, comment: str) -> None:
    text = json.dumps({"k": value}, indent=1)
    commented = "\n".join(f"{line}\n{comment}" for line in text.split("\n"))
    assert json.loads(tolerant(commented)) == {"k": value}
    assert json.loads(tolerant('{"k": [1, 2, ], }')) == {"k": [1, 2]}


def test_the_nul_escape_takes_two_digits() -> None:
    assert json.loads(tolerant(r'"\x00223399"')) == "\x00" + "223399"
    assert json.loads(tolerant(r'"C:\\x00"')) == r"C:\x00"


def test_every_key_and_variable_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert [key for key in keys(load(environment={}).model) if f"`{key}`" not in text] == []
    assert [name for name in [*ENVIRONMENT, *VARIABLES, "WORKER_SCHEDULE_FILE"] if f"`{name}`" not in text] == []


# -- token, identity, credentials, plug-ins ----------------------------------------------------------------------------


def test_a_token_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:  # G56
    (tmp_path / "token").write_text("first-token\n")
    loaded = load_text(tmp_path, '{"server": {"api_url": "https://x", "auth_token_file": "token"}}')
    token = key_provider_of(loaded)
    assert token() == "first-token"
    (tmp_path / "new").write_text("second-token")
    os.replace(tmp_path / "new", tmp_path / "token")
    assert token() == "second-token"


@pytest.mark.parametrize("between", ["", None])
def test_while_a_token_file_is_replaced_the_last_key_counts(tmp_path: Path, between: str | None) -> None:  # G56
    file = tmp_path / "token"
    file.write_text("first-token\n")
    token = key_provider_of(load_text(tmp_path, '{"server": {"api_url": "https://x", "auth_token_file": "token"}}'))
    assert token() == "first-token"
    if between is None:
        file.unlink()
    else:
        file.write_text(between)
    assert token() == "first-token"
    file.write_text("second-token")
    assert token() == "second-token"


def test_a_first_start_cut_off_with_the_same_process_id_does_not_bar_the_next(tmp_path: Path) -> None:
    (tmp_path / f"identity.json.{os.getpid()}").touch()
    assert worker_id(tmp_path, "") == worker_id(tmp_path, "")


def test_an_identity_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be kept"):
        worker_id(tmp_path / "gone", "")


def test_an_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    first = worker_id(tmp_path, "")
    assert worker_id(tmp_path, "") == first
    assert (tmp_path / "identity.json").stat().st_mode & 0o777 == 0o600
    assert default_name(first).endswith(first[:8])


def test_an_identity_is_never_silently_replaced(tmp_path: Path) -> None:  # G9
    mine = "6f0c7a52-6d0e-4f63-9d8e-2b6f0a4f9c12"
    assert worker_id(tmp_path, mine) == mine
    with pytest.raises(ConfigError, match="belongs to worker"):
        worker_id(tmp_path, "11111111-1111-4111-8111-111111111111")
    for damage in ("", "{}", '{"id": "x"}', "\x00"):
        (tmp_path / "identity.json").write_text(damage)
        with pytest.raises(ConfigError, match="restore the file"):
            worker_id(tmp_path, "")


def test_the_state_directory_is_private(tmp_path: Path) -> None:  # G66
    open_one = tmp_path / "open"
    open_one.mkdir(mode=0o777)
    assert private_directory(open_one).stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(open_one)
    (tmp_path / "file").touch()
    for bad in ("link", "file", "file/below"):
        with pytest.raises(ConfigError, match="state_dir"):
            private_directory(tmp_path / bad)


def test_local_credentials_come_from_a_private_file_or_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({"db": {"category": "username_password", "value": {"password": "p"}},
                                "off": {"value": {}, "is_active": False}}))  # fmt: skip
    path.chmod(0o600)
    source = LocalCredentials(path, {"CRONJOB_CREDENTIAL_MY_KEY": '{"value": {"token": "t"}}'})
    assert source.credential("db").value["password"] == "p"
    assert source.credential("my-key").value["token"] == "t"
    with pytest.raises(NotFound):
        source.credential("nobody")
    with pytest.raises(Refused, match="not active"):
        source.credential("off")
    path.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        source.credential("db")


def test_a_plug_in_that_ends_the_program_is_only_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plug_in_that_exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    problems = load_runners(RunnerRegistry(), {"x": "plug_in_that_exits:Y"})
    assert len(problems) == 1
    assert "SystemExit: 3" in problems[0]


def test_a_broken_plug_in_is_told_and_leaves_the_others_alone() -> None:
    registry = RunnerRegistry()
    good = "adapters.runners.command:CommandRunner"
    problems = load_runners(
        registry,
        {"mine": good, "gone": "no_such_module:X", "bad": "json:loads", "odd": "json", "not": "json:JSONDecoder"},
    )
    assert registry.list() == ["mine"]
    assert isinstance(registry.create("mine"), CommandRunner)
    assert [re.findall(r"for '(\w+)'", text)[0] for text in problems] == ["gone", "bad", "odd", "not"]
