"""Third-party packages appear only where they belong; everything else is import-linter's (pyproject.toml)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HOMES = {
    "dependency_injector": ("bootstrap.py",),
    "websocket": ("adapters/transports/",),
    "dataclasses_json": ("adapters/wire/",),
    "urllib3": ("adapters/apiserver/", "adapters/runners/", "adapters/transports/"),
    "click": ("adapters/cli/",),
    "pydantic": ("adapters/config/",),
    "cronsim": ("adapters/local/",),
    "aiohttp": ("adapters/testkit/",),
    "sqlalchemy": ("adapters/runners/database/",),
    "docker": ("adapters/runners/container/",),
    "paramiko": ("adapters/runners/file/",),
}
SIBLINGS_ANYBODY_MAY_USE = {"wire", "process"}
USERS_OF_ALL = {"testkit"}


def sources() -> list[Path]:
    return [path for top in ("domain", "application", "adapters") for path in sorted((ROOT / top).rglob("*.py"))] + [
        ROOT / "bootstrap.py"
    ]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def test_whoever_imports_the_packages_gets_their_types() -> None:
    assert [top for top in ("domain", "application", "adapters") if not (ROOT / top / "py.typed").is_file()] == []


@pytest.mark.parametrize("package", HOMES)
def test_a_package_is_imported_only_where_it_belongs(package: str) -> None:
    strays = [
        str(path.relative_to(ROOT))
        for path in sources()
        if any(name.split(".")[0] == package for name in imported(path))
        and not str(path.relative_to(ROOT)).startswith((*HOMES[package], "adapters/testkit/"))
    ]
    assert strays == []


def test_adapters_do_not_import_their_siblings() -> None:
    strays = []
    for path in sorted((ROOT / "adapters").rglob("*.py")):
        home = path.relative_to(ROOT / "adapters").parts[0]
        if home in USERS_OF_ALL:
            continue
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "adapters" and len(parts) > 1 and parts[1] not in SIBLINGS_ANYBODY_MAY_USE | {home}:
                strays.append(f"{path.relative_to(ROOT)} imports {name}")
    assert strays == []
