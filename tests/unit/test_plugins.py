"""The door for transports, journals, sources of settings and runners of other teams, with real entry points."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.config.load import WrongSettings, load
from adapters.config.loaded import Loaded
from adapters.config.plugins import find_journal, find_transport
from adapters.journal.memory import MemoryJournal
from adapters.observability.metrics import MemoryMetrics
from adapters.plugin import Surroundings
from adapters.runners.plugins import load_runners
from adapters.runtime.threads import ThreadRuntime
from domain.errors import ConfigError
from domain.runner import RunnerRegistry

QUEUE = """
from adapters.journal.memory import MemoryJournal
from adapters.plugin import JournalPlugin, Seconds, Section, Text, TransportPlugin
from application.ports import Server
from pydantic import Field, field_validator


class Queue(Section):
    name: Text = "jobs"
    wait: Seconds = 5.0
    password: Text = ""
    headers: dict[str, str] = {}

    @field_validator("password")
    @classmethod
    def no_blanks(cls, value):
        if " " in value:
            raise ValueError(f"{value} holds a blank")
        return value


class Needy(Section):
    must: Text


def check(settings):
    if settings.section(Queue).name == "none":
        yield "queue.name", "must be the name of a queue"


def broken(_):
    raise KeyError("oops")


def open_server(around):
    around.stack.callback(OPENED.append, "closed")
    OPENED.append(around.settings.section(Queue).name)
    return Server("queue", None, None, None)


def plug(**more):
    given = {"name": "queue", "open": open_server, "sections": {"queue": Queue}, "check": check}
    return TransportPlugin(**given | {"secrets": ["queue.password"], "variables": {"QUEUE_NAME": "queue.name"}} | more)


OPENED = []
plugin = plug()
options = plug(sections={"transport_options": Queue}, check=lambda _: (), secrets=["transport_options.password"])
takes_server = plug(sections={"server": Queue})
takes_worker = plug(sections={"worker": Queue})
takes_journal = plug(sections={"journal_options": Queue})
dotted = plug(sections={"a.b": Queue})
shadows = plug(sections={"model_dump": Queue})
needy = plug(sections={"queue": Needy})
fails = plug(check=broken)
number = 7


class Store(Section):
    table: Text = "tasks"
    secret: Text = ""


def open_store(around):
    journal = MemoryJournal()
    journal.table = around.settings.section(Store).table
    return journal


store = JournalPlugin("store", open_store, Store, secrets=["journal_options.secret"],
                      check=lambda it: [("journal_options.table", "is taken")] if it.section(Store).table == "x" else [])
plain = JournalPlugin("plain", lambda _: MemoryJournal())


class Vault:
    name = "vault"

    def read(self, environment):
        return {"worker.name": "from the vault", "execution": {"grace": 3}, "worker.description": "from the vault"}


class Down(Vault):
    name = "down"

    def read(self, environment):
        raise OSError("the vault is sealed")


class Greedy(Vault):
    name = "greedy"

    def read(self, environment):
        return {"config_sources": ["other"]}


class Odd(Vault):
    name = "odd"

    def read(self, environment):
        return 7


vault, down, greedy, odd = Vault(), Down(), Greedy(), Odd()
"""
ENTRY_POINTS = """
[cronjob_worker.transports]
queue = queue_plugin:plugin
broken = queue_plugin_broken:plugin
leaves = queue_plugin_leaves:plugin
number = queue_plugin:number

[cronjob_worker.journals]
store = queue_plugin:store

[cronjob_worker.config_sources]
vault = queue_plugin:vault

[cronjob_worker.runners]
fine = adapters.runners.command:CommandRunner
gone = queue_plugin:Nobody
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of another team, as pip would leave it."""
    site = tmp_path / "site"
    info = site / "queue_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: queue-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "queue_plugin.py").write_text(QUEUE)
    (site / "queue_plugin_broken.py").write_text("raise RuntimeError('the client library is too old')")
    (site / "queue_plugin_leaves.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(site))
    yield
    for name in [name for name in sys.modules if name.startswith("queue_plugin")]:
        del sys.modules[name]


@pytest.fixture
def settle(tmp_path: Path) -> Callable[..., Loaded]:
    def settle(text: str, assignments: dict[str, str] | None = None, **environment: str) -> Loaded:
        file = tmp_path / "config_worker.json"
        file.write_text(text)
        return load(str(file), assignments or {}, environment)

    return settle


def surroundings(loaded: Loaded, tmp_path: Path, stack: ExitStack) -> Surroundings:
    return Surroundings(loaded, ThreadRuntime(), MemoryMetrics(), tmp_path, stack, lambda _: None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://cron.example.com", "apiserver"),
        ("WSS://cron.example.com/api/v1", "apiserver"),
        ("local:", "local"),
        ("local", "local"),
        ("apiserver", "apiserver"),
        ("websocket", "apiserver"),  # of older files
        ("queue", "queue"),
        ("queue://user@host/jobs", "queue"),
        ("Queue:", "queue"),
        ("queue_plugin:options", "queue"),
        ("adapters.local.plugin:plugin", "local"),
    ],
)
def test_a_transport_is_named_by_scheme_by_name_or_as_module_and_object(text: str, name: str) -> None:
    assert find_transport(text).name == name


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pigeon", ["'pigeon'", "apiserver", "local", "queue", "module:object"]),
        ("pigeon://loft", ["'pigeon'", "queue"]),
        ("broken", ["queue_plugin_broken:plugin", "RuntimeError: the client library is too old"]),
        ("leaves", ["SystemExit: 3"]),
        ("number", ["is a int and not a TransportPlugin"]),
        ("no_such_module:plugin", ["ModuleNotFoundError"]),
        ("queue_plugin:nobody", ["AttributeError"]),
        ("queue_plugin:store", ["is a JournalPlugin and not a TransportPlugin"]),
        ("", ["''"]),
        ("a b:c", ["'a b:c'"]),
    ],
)
def test_a_transport_that_cannot_be_had_is_told_with_source_key_and_reason(
    settle: Callable[..., Loaded], text: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        settle("{}", {"transport": text})
    assert str(caught.value).startswith("command line: transport: ")
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_plug_in_that_nobody_chose_is_not_imported(settle: Callable[..., Loaded]) -> None:
    settle('{"transport": "local"}')
    assert not [name for name in sys.modules if name.startswith("queue_plugin")]


def test_a_plug_in_gets_its_own_section_from_every_source(settle: Callable[..., Loaded], tmp_path: Path) -> None:
    text = '{"transport": "queue", "queue": {"wait": "2m", "headers": {"X.Y": "z"}, "name": "file"}}'
    loaded = settle(text, {"queue.password": "hunter2-secret", "queue.headers.A": "b"}, QUEUE_NAME="variable")
    plugin = sys.modules["queue_plugin"]
    section: Any = loaded.section(plugin.Queue)
    assert (section.name, section.wait, section.headers) == ("variable", 120.0, {"X.Y": "z", "A": "b"})
    rows = {key: (value, source) for key, value, source in loaded.rows()}
    assert rows["queue.password"] == ("***", "command line")
    assert rows["queue.name"] == ("'variable'", "environment QUEUE_NAME")
    assert rows["queue.wait"][1].endswith("config_worker.json")
    assert "hunter2-secret" in loaded.secret_values()
    assert "hunter2" not in str(rows)
    with ExitStack() as stack:
        loaded.transport.open(surroundings(loaded, tmp_path, stack))
    assert plugin.OPENED == ["variable", "closed"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"nmae": "x"}', ["config_worker.json: queue.nmae: unknown key; did you mean queue.name?"]),
        ('{"wait": "soon"}', ["config_worker.json: queue.wait: ", "'soon'"]),
        ('{"wait": 0}', ["config_worker.json: queue.wait: ", "greater than 0"]),
        ('{"headers": {"a": 1}}', ["config_worker.json: queue.headers.a: ", "string"]),
        ('{"headers": 3}', ["config_worker.json: queue.headers: ", "dictionary"]),
        ('{"name": "none"}', ["config_worker.json: queue.name: must be the name of a queue"]),
        ('{"password": "not fit"}', ["config_worker.json: queue.password: "]),
        ('{"password": 12345678}', ["config_worker.json: queue.password: ", "got ***"]),
        ("[]", ["config_worker.json: queue: expected an object"]),
    ],
)
def test_a_mistake_in_a_plug_in_s_section_names_source_key_and_remedy(
    settle: Callable[..., Loaded], text: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        settle(f'{{"transport": "queue", "queue": {text}}}')
    assert [part for part in parts if part not in str(caught.value)] == []
    assert str(caught.value).count("\n") == 0
    assert "12345678" not in str(caught.value)
    assert "not fit" not in str(caught.value)


def test_a_single_section_may_have_the_usual_name(settle: Callable[..., Loaded]) -> None:
    text = '{"transport": "queue_plugin:options", "transport_options": {"name": "n", "password": "hunter2-secret"}}'
    rows = {key: value for key, value, _ in settle(text).rows()}
    assert (rows["transport_options.name"], rows["transport_options.password"]) == ("'n'", "***")
    with pytest.raises(ConfigError, match=r"transport_options\.name: unknown key"):
        settle('{"transport": "local", "transport_options": {"name": "n"}}')


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("takes_server", "section 'server' of the settings, which is taken"),
        ("takes_worker", "section 'worker' of the settings, which is taken"),
        ("takes_journal", "section 'journal_options' of the settings, which is taken"),
        ("dotted", "section 'a.b' of the settings, which cannot be the name"),
        ("shadows", "section 'model_dump' of the settings, which cannot be the name"),
        ("needy", "section 'queue' of the settings there must be defaults for must"),
        ("fails", "the check of queue failed: KeyError: 'oops'"),
    ],
)
def test_a_plug_in_that_does_not_fit_the_settings_is_refused_by_name(
    settle: Callable[..., Loaded], name: str, text: str
) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        settle(json.dumps({"transport": f"queue_plugin:{name}"}))
    assert "config_worker.json: transport: " in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_the_login_of_an_address_is_shown_nowhere(settle: Callable[..., Loaded]) -> None:
    loaded = settle("{}", {"transport": "queue://me:p%20ss-word@host/jobs"})
    assert {key: value for key, value, _ in loaded.rows()}["transport"] == "'queue://***@host/jobs'"
    assert loaded.transport.where(loaded) == "queue://***@host/jobs"
    assert set(loaded.secret_values()) >= {"p%20ss-word", "p ss-word"}


@pytest.mark.parametrize("name", ["store", "queue_plugin:store"])
def test_a_journal_of_others_has_its_own_section(settle: Callable[..., Loaded], tmp_path: Path, name: str) -> None:
    loaded = settle(json.dumps({"journal": name, "journal_options": {"table": "t", "secret": "hunter2-secret"}}))
    rows = {key: value for key, value, _ in loaded.rows()}
    assert (rows["journal_options.table"], rows["journal_options.secret"]) == ("'t'", "***")
    with ExitStack() as stack:
        journal: Any = find_journal(loaded.settings.journal).open(surroundings(loaded, tmp_path, stack))
    assert (journal.table, isinstance(journal, MemoryJournal)) == ("t", True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"journal": "stone"}', "journal: 'stone' is none of memory, sqlite, store, nor module:object"),
        ('{"journal": "queue_plugin:plugin"}', "is a TransportPlugin and not a JournalPlugin"),
        ('{"journal": "queue_plugin_broken:x"}', "journal: .*the client library is too old"),
        ('{"journal": "store", "journal_options": {"tabel": "t"}}', "journal_options.tabel: unknown key; did you mean"),
        ('{"journal": "store", "journal_options": {"table": "x"}}', "journal_options.table: is taken"),
        ('{"journal_options": {"table": "x"}}', "journal_options.table: unknown key"),
        ('{"journal": 3}', "journal: input should be a valid string"),
    ],
)
def test_a_journal_that_cannot_be_had_is_told(settle: Callable[..., Loaded], text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"config_worker.json: .*{told}") as caught:
        settle(text)
    assert str(caught.value).count("\n") == 0


def test_a_journal_that_ships_or_has_no_settings_adds_no_section(settle: Callable[..., Loaded]) -> None:
    for name in ("sqlite", "memory", "queue_plugin:plain"):
        assert not [key for key, _, _ in settle("{}", {"journal": name}).rows() if key.startswith("journal_")]


@pytest.mark.parametrize("name", ["vault", "queue_plugin:vault"])
def test_a_source_of_others_stands_between_file_and_environment(settle: Callable[..., Loaded], name: str) -> None:
    text = json.dumps({"worker": {"name": "file", "concurrency": 3}, "config_sources": [name]})
    loaded = settle(text, WORKER_DESCRIPTION="environment")
    worker = loaded.settings.worker
    assert (worker.name, worker.concurrency, worker.description) == ("from the vault", 3, "environment")
    assert loaded.settings.execution.grace == 3
    assert (loaded.source("worker.name"), loaded.source("execution.grace")) == ("source vault", "source vault")


def test_a_source_may_be_named_on_the_command_line(settle: Callable[..., Loaded]) -> None:
    assert settle("{}", {"config_sources": "vault"}).settings.worker.name == "from the vault"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "'nowhere' is none of vault"),
        ("queue_plugin:down", "down failed: OSError: the vault is sealed"),
        ("queue_plugin:greedy", "only the file and the command line"),
        ("queue_plugin:odd", "odd failed: "),
        ("queue_plugin:number", "is a int and not a ConfigSource"),
    ],
)
def test_a_source_that_cannot_be_read_stops_the_start(settle: Callable[..., Loaded], name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"config_worker.json: config_sources: .*{told}"):
        settle(json.dumps({"config_sources": [name]}))


def test_runners_of_others_come_by_entry_point_and_what_is_broken_is_told() -> None:
    registry = RunnerRegistry()
    problems = load_runners(registry, {})
    assert "fine" in registry.list()
    assert [text for text in problems if "queue_plugin:Nobody" in text and "AttributeError" in text]


def test_the_mistakes_of_a_plug_in_are_told_with_all_others(settle: Callable[..., Loaded]) -> None:
    with pytest.raises(WrongSettings) as caught:
        settle('{"transport": "queue_plugin:takes_server", "worker": {"nmae": 1}, "log": {"level": 3}}')
    assert {line.split(": ")[1] for line in str(caught.value).splitlines()} == {"transport", "worker.nmae", "log.level"}
