"""What a task's processes find in their environment."""

from __future__ import annotations

import pytest

from adapters.process.environment import CREDENTIALS, OWN, child_environment, take_secrets


@pytest.mark.parametrize("name", [*OWN, f"{CREDENTIALS}MAIL"])
def test_what_is_the_worker_s_own_is_not_inherited(name: str) -> None:
    assert child_environment({name: "x", "PATH": "/bin"}, {}) == {"PATH": "/bin"}


def test_a_variable_whose_value_holds_a_secret_is_not_inherited() -> None:  # C11
    inherited = {"URL": "https://u:hunter22@host/", "PATH": "/bin"}
    assert child_environment(inherited, {}, ["hunter22"]) == {"PATH": "/bin"}


def test_an_empty_secret_hides_nothing() -> None:
    assert child_environment({"PATH": "/bin"}, {}, ["", ""]) == {"PATH": "/bin"}


def test_what_the_task_adds_wins_and_is_taken_as_it_is() -> None:
    added = {"PATH": "/task", "API_KEY": "the task's own hunter22"}
    assert child_environment({"PATH": "/bin", "HOME": "/root"}, added, ["hunter22"]) == {"HOME": "/root", **added}


def test_secrets_are_taken_out_of_the_environment_and_told() -> None:
    environment = {"API_KEY": "k", "API_AUTH_TOKEN": "t", f"{CREDENTIALS}MAIL": "{}", "PATH": "/bin"}
    taken = take_secrets(environment)
    assert taken == {"API_KEY": "k", "API_AUTH_TOKEN": "t", f"{CREDENTIALS}MAIL": "{}"}
    assert environment == {"PATH": "/bin"}
    assert take_secrets(environment) == {}
