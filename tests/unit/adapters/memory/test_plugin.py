"""The in-memory transport comes in by the door of all transports."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from pytest_mock import MockerFixture

from adapters.memory.plugin import plugin
from adapters.observability.metrics import MemoryMetrics
from adapters.plugin import Surroundings
from adapters.runtime.threads import ThreadRuntime


def test_it_opens_a_server_of_its_own_each_time_and_confirms_what_it_is_told(
    tmp_path: Path, mocker: MockerFixture
) -> None:
    with ExitStack() as stack:
        around = Surroundings(mocker.Mock(), ThreadRuntime(), MemoryMetrics(), tmp_path, stack, lambda _: None)
        first, second = plugin.open(around), plugin.open(around)
    assert first.stream is not second.stream
    assert (first.name, first.read_back) == ("memory", None)
    assert list(tmp_path.iterdir()) == []


def test_it_is_chosen_by_name_or_scheme_and_never_by_itself(mocker: MockerFixture) -> None:
    settings = mocker.Mock()
    assert (plugin.name, tuple(plugin.schemes)) == ("memory", ("memory",))
    assert not plugin.is_configured(settings)
    assert plugin.where(settings) == "in this process"
