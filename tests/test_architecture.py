"""What may be imported, and by whom; how long files and functions may be. What no table names may not be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("domain", "application", "adapters")
OURS_AND_PYTHONS = {*LAYERS, "bootstrap", *sys.stdlib_module_names}

# Of the standard library, what does neither I/O nor waits, and knows neither time of day nor chance.
PURE = {"__future__", "collections", "dataclasses", "datetime", "enum", "pathlib", "typing"}
LIBRARY = {
    "domain": PURE,
    # ``logging`` is the one effect that use-cases have without a port.
    "application": PURE | {"contextlib", "functools", "json", "logging", "math", "re"},
}

# Of this program: what each folder (or file) may import beside itself. Imports point inwards: no adapter but the
# driving side (cli) and the test kit knows another, except what is there for all: wire, net, process, and the door.
CORE = {"application", "domain"}
DOOR = {"adapters/plugin.py"}
MAY = {
    "domain": set[str](),
    "application": {"domain"},
    "adapters/__init__.py": set[str](),
    "adapters/plugin.py": CORE,
    "adapters/builtin.py": DOOR,
    "adapters/wire": CORE,
    "adapters/net": {"domain", "adapters/wire"},
    "adapters/process": CORE,
    "adapters/apiserver": CORE | DOOR | {"adapters/net", "adapters/wire"},
    "adapters/local": CORE | DOOR | {"adapters/wire"},
    "adapters/memory": CORE | DOOR | {"adapters/wire"},
    "adapters/journal": CORE | DOOR | {"adapters/wire"},
    "adapters/spool": CORE,
    "adapters/state": {"domain", "adapters/process"},
    "adapters/config": CORE | DOOR | {"adapters/builtin.py", "adapters/process"},
    "adapters/guardian": CORE | {"adapters/process"},
    "adapters/runners": {"domain", "adapters/net", "adapters/plugin.py", "adapters/process", "adapters/wire"},
    "adapters/runtime": {"domain"},
    "adapters/observability": {"domain"},
}
USERS_OF_ALL = ("adapters/cli", "adapters/testkit")
ADAPTERS = {f"adapters/{path.name}" for path in (ROOT / "adapters").iterdir() if not path.name.startswith("__pyc")}
MAY |= dict.fromkeys(USERS_OF_ALL, CORE | ADAPTERS)
MAY["adapters/testkit"] |= {"bootstrap"}  # a whole worker of a test is made as the program makes its own

# Of others: the places that use a package. Its words appear nowhere else.
PACKAGES = {
    "aiohttp": ("adapters/testkit/",),
    "click": ("adapters/cli/",),
    "cronsim": ("adapters/local/",),
    "dataclasses_json": ("adapters/wire/",),
    "dependency_injector": ("bootstrap.py",),
    "docker": ("adapters/runners/container/",),
    "greenlet": ("adapters/testkit/",),
    "hypothesis": ("adapters/testkit/",),
    "paramiko": ("adapters/runners/file/",),
    "psycopg": ("adapters/runners/database/",),
    # Settings, and the sections that plug-ins add to them.
    "pydantic": ("adapters/config/", "adapters/plugin.py", "adapters/apiserver/settings.py", "adapters/local/plugin.py"),
    "pymysql": ("adapters/runners/database/",),
    "pytest": ("adapters/testkit/",),
    "redis": ("adapters/runners/database/",),
    "sqlalchemy": ("adapters/runners/database/",),
    "sqlglot": ("adapters/runners/database/",),
    "urllib3": (
        "adapters/apiserver/", "adapters/net/", "adapters/runners/container/", "adapters/runners/http/",
        "adapters/runners/message/",
    ),
    "websocket": ("adapters/apiserver/",),
    "xlsxwriter": ("adapters/runners/database/",),
}  # fmt: skip

FILE_LINES, FUNCTION_LINES, ROOT_LINES = 200, 40, 200
LONG_FILES: Mapping[str, str] = {
    "domain/runner.py": "all that who writes a runner has to know, on one page",
    "application/delivery.py": "one loop over one table: sending, looking and settling share each report's state",
    "application/leases.py": "the life of a lease under one lock: whoever cuts it cuts between two lines that belong together",
    "application/run_task.py": "the whole way of a task, to be read from top to bottom",
    "adapters/guardian/guardian.py": "who watches is read as a whole, and imports next to nothing",
    "adapters/journal/sqlite.py": "one file's life, its damage included, behind one lock",
    "adapters/memory/server.py": "the smallest whole transport, one object to learn from",
    "adapters/observability/redact.py": "what is known of secrets, and the streams that must not show them",
    "adapters/process/child.py": "the states of one child process; each transition asks about the others",
    "adapters/process/supervisor.py": "one loop over all children: its steps share its tables",
    "adapters/runners/container/actions.py": "a table of the actions, each short",
    "adapters/runners/container/client.py": "the repairs of one library, each a few lines",
    "adapters/runners/database/engines.py": "a table of the engines, each short",
    "adapters/runners/database/redis.py": "the rules of one command language, most of it tables",
    "adapters/testkit/apiserver.py": "the HTTP shell of the model: one handler, its routes and its misdeeds",
    "adapters/testkit/model/server.py": "what the modelled server stores, under one lock",
    "adapters/testkit/simulation.py": "one scheduler and the clock, threads and chance that hang on it",
    "adapters/wire/messages.py": "the two directions of one protocol, side by side",
}
LONG_FUNCTIONS: Mapping[str, str] = {
    "adapters/runners/container/client.py::_track": "classes made over those of a library that is imported at first use",
    "adapters/testkit/model/requests.py::answer": "a table of the routes",
}


def sources() -> list[Path]:
    return [path for top in LAYERS for path in sorted((ROOT / top).rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def place_of(path: str) -> str:
    """The key of MAY that a file belongs to."""
    return "/".join(path.split("/")[:2]) if path.startswith("adapters/") else path.split("/", maxsplit=1)[0]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative imports hide where they lead"
            assert not node.level, "relative imports hide where they lead"
            yield node.module


def place_of_module(module: str) -> str:
    parts = module.split(".")
    if parts[0] != "adapters":
        return parts[0]
    part = parts[1] if len(parts) > 1 else "__init__"
    return f"adapters/{part}" if (ROOT / "adapters" / part).is_dir() else f"adapters/{part}.py"


def test_whoever_imports_the_packages_gets_their_types() -> None:
    assert [top for top in LAYERS if not (ROOT / top / "py.typed").is_file()] == []


def test_every_place_says_what_it_may_import() -> None:
    assert sorted({place_of(name_of(path)) for path in sources()}) == sorted(MAY)


@pytest.mark.parametrize("place", MAY)
def test_a_place_imports_of_this_program_what_it_may_and_may_what_it_imports(place: str) -> None:
    found: dict[str, set[str]] = {}
    for path in sources():
        if place_of(name_of(path)) == place:
            for module in imported(path):
                if (target := place_of_module(module)).split("/")[0] in (*LAYERS, "bootstrap", "tests"):
                    found.setdefault(target, set()).add(name_of(path))
    found.pop(place, None)
    assert {target: files for target, files in found.items() if target not in MAY[place]} == {}
    assert place in USERS_OF_ALL or MAY[place] - found.keys() == set(), "allowed, and needed by nobody"


@pytest.mark.parametrize("layer", LIBRARY)
def test_the_core_uses_of_the_standard_library_what_is_named(layer: str) -> None:
    used = {
        module.split(".")[0]: name_of(path)
        for path in sources()
        if place_of(name_of(path)) == layer
        for module in imported(path)
        if module.split(".")[0] in sys.stdlib_module_names
    }
    assert {module: where for module, where in used.items() if module not in LIBRARY[layer]} == {}
    assert LIBRARY[layer] - used.keys() == set(), "allowed, and needed by nobody"


def test_a_package_of_others_is_imported_only_where_it_belongs() -> None:
    strays = set()
    for path in [*sources(), ROOT / "bootstrap.py"]:
        for package in {module.split(".")[0] for module in imported(path)} - OURS_AND_PYTHONS:
            if not name_of(path).startswith(PACKAGES.get(package, ("nowhere",))):
                strays.add(f"{name_of(path)} imports {package}")
    assert strays == set()


def test_the_guardian_needs_nothing_but_the_standard_library() -> None:
    """It runs with whatever Python a person has, and what can fail in it fails for every task."""
    code = "import sys; from adapters.guardian import entry, guardian; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    others = {name.split(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names - {"__main__"}
    assert others == {"adapters"}
    ours = {name for name in done.stdout.split() if name.startswith("adapters.")}
    assert {name.split(".")[1] for name in ours} == {"guardian", "process"}


# --- ceilings -------------------------------------------------------------------------------------------------------


def test_the_composition_root_is_short() -> None:
    assert len((ROOT / "bootstrap.py").read_text().splitlines()) <= ROOT_LINES


def test_a_long_file_has_a_reason() -> None:
    long = {name_of(path) for path in sources() if len(path.read_text().splitlines()) > FILE_LINES}
    assert long == LONG_FILES.keys(), "split it, or tell the reason; take out what is short again"


def test_a_long_function_has_a_reason() -> None:
    long = {
        f"{name_of(path)}::{node.name}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS.keys(), "split it, or tell the reason; take out what is short again"
