"""A source of settings as another team writes one keeps the contract; the suite catches one that does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.testkit.config_source_contract import ConfigSourceContract, SourceCase
from domain.errors import ConfigError


class SecretFile:
    """Settings from a file that a secret store puts there."""

    name = "secret file"

    def read(self, environment: Mapping[str, str]) -> Mapping[str, Any]:
        path = environment.get("SECRETS", "")
        try:
            document = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); name the file in SECRETS") from None
        assert isinstance(document, dict)
        return document


class TestSecretFile(ConfigSourceContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> SourceCase:
        path = tmp_path / "secrets.json"
        path.write_text('{"server.auth_token": "t0k3n", "worker": {"concurrency": 7}}')
        gives = {"server.auth_token": "t0k3n", "worker.concurrency": 7}
        return SourceCase(SecretFile(), {"SECRETS": str(path)}, gives, {"SECRETS": str(tmp_path / "none")})


class Careless(SecretFile):
    def read(self, environment: Mapping[str, str]) -> Mapping[str, Any]:
        return {"server.auth_token": Path(environment["SECRETS"]).read_text()}


def test_a_source_that_raises_what_it_likes_is_caught(tmp_path: Path) -> None:
    case = SourceCase(Careless(), {}, {}, {"SECRETS": str(tmp_path / "none")})
    with pytest.raises(pytest.fail.Exception, match=r"ConfigSource.read raises ConfigError and nothing else; but it"):
        ConfigSourceContract().test_where_it_cannot_be_read_it_says_so(case)
