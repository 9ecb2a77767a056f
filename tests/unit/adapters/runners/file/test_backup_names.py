"""How sizes and times are written, and how backups are named."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from adapters.runners.file.backup_names import free, front, human, local_time, series, stamped


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (1536, "1.5 KB"), (1 << 20, "1.0 MB"), (1 << 60, "1.0 EB"), (1 << 71, "2048.0 EB")],
)  # fmt: skip
def test_a_size_is_written_for_people(size: float, text: str) -> None:
    assert human(size) == text


def test_a_time_that_no_calendar_knows_is_no_reason_to_fail() -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", local_time(1_700_000_000))
    assert local_time(1e15) == "@1000000000000000"


@pytest.mark.parametrize(
    ("target", "kind", "shape"),
    [
        ("/b/db.sql", "", r"/b/db_\d{12}\.sql"), ("/b/db.sql", "tar.gz", r"/b/db_\d{12}\.tar\.gz"),
        ("/b/db", "", r"/b/db_\d{12}"), ("/b/", "zip", r"/b/b_\d{12}\.zip"), ("/b.d/x", "tar", r"/b\.d/x_\d{12}\.tar"),
    ],
)  # fmt: skip
def test_a_backup_has_the_minute_in_its_name(target: str, kind: str, shape: str) -> None:
    assert re.fullmatch(shape, stamped(target, kind))


def test_a_name_that_is_taken_gets_a_number() -> None:
    taken = {Path("/b/db_202401020304.tar"), Path("/b/db_202401020304-2.tar")}
    assert free(Path("/b/db_202401020304.tar"), taken.__contains__) == Path("/b/db_202401020304-3.tar")
    assert free(Path("/b/x_202401020304.tar"), taken.__contains__) == Path("/b/x_202401020304.tar")


def test_a_series_is_told_from_its_names_and_neighbours_are_no_part_of_it() -> None:
    names = [
        "db_202401020304.tar", "db_202401020304-2.zip", "db_202401020305", "db_202401020306.tar", "mydb_202401020304.tar",
        "db_x_202401020304.tar", "db_202413990000.tar", "db_202401020304.tar.part", "db.tar", "db_20240102030.tar",
    ]  # fmt: skip
    found = series(Path("/b/db_202401020306.tar"), names)
    assert set(found) == {"db_202401020304.tar", "db_202401020304-2.zip", "db_202401020305"}
    assert datetime.fromtimestamp(found["db_202401020305"]).astimezone().strftime("%Y%m%d%H%M") == "202401020305"


def test_the_front_of_a_series_is_what_all_its_names_begin_with() -> None:
    assert front(Path("/b/db_1_202401020304-7.tar.gz")) == "db_1_"
