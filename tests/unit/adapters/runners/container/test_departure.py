"""How a container leaves its engine."""

from __future__ import annotations

from pathlib import Path

from domain.status import Status
from tests.support.containers import ran_there


def test_a_time_out_reaches_the_container_of_containerd(nerdctl: tuple[dict[str, str], Path]) -> None:
    """K1"""
    result = ran_there(nerdctl[0], 1.0, action="run", image="sleeper", name="nn", detach=False)
    commands = [text.split("\n") for text in nerdctl[1].read_text().split("--\n")]
    assert result.status is Status.TIMEOUT
    assert [words[2] for words in commands if len(words) > 2] == ["run", "ps", "stop", "ps", "rm"]
    assert {words[-2] for words in commands if words[2:3] in (["stop"], ["rm"])} == {"id-of-run"}
