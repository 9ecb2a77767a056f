"""The examples that people copy run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from domain.errors import InvalidTask, MissingExtra
from domain.runner import RunnerRegistry

ROOT = Path(__file__).parent.parent.parent


def blocks(file: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("number", "printed"),
    [(0, "success Hello, World!\n\n"), (1, "stopped stopped\n"), (2, "Hello, Ada!\n")],
)
def test_the_examples_of_the_readme(number: int, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("README.md")[number], "README.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_runner_of_the_guide_counts_stops_and_refuses() -> None:
    names: dict[str, type] = {}
    exec(compile(blocks("docs/writing-a-runner.md")[0], "writing-a-runner.md", "exec"), names)
    registry = RunnerRegistry()
    registry.register("countdown", names["CountdownRunner"])
    runner = registry.create("countdown")
    with pytest.raises(InvalidTask):
        runner.parse_args("", "many")
    runner.parse_args("", "3")
    result = runner.execute()
    assert (result.status, result.output) == ("success", '{"counted": 3}')
    late = registry.create("countdown")
    late.parse_args("", "100000")
    late.set_timeout(0.05)
    assert late.execute().status == "timeout"


def test_a_package_of_ones_own_names_its_own_extra() -> None:
    assert "pip install 'my-package[fast]'" in str(MissingExtra("a countdown", "fast", "my-package"))
