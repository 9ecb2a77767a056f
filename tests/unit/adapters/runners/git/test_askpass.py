"""How git and ssh get their secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path

from adapters.runners.git.askpass import Askpass, https_answers


def test_the_helper_answers_from_however_deep_a_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    askpass = Askpass(deep, https_answers("h.example", "ada", "s3cret"))
    try:
        asked = ("Password for 'https://ada@h.example': ", "Password for 'https://ada@other.example': ")
        told = [subprocess.run([str(askpass.program), text], capture_output=True, check=False) for text in asked]
    finally:
        askpass.close()
    assert [(done.stdout, done.returncode) for done in told] == [(b"s3cret\n", 0), (b"", 1)]
