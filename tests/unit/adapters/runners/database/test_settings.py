"""The arguments of a database task (7.5)."""

from __future__ import annotations

import json

import pytest

from adapters.runners.database import DatabaseRunner
from domain.errors import InvalidTask


@pytest.mark.parametrize("change", [{"db_type": "MySQL"}, {"max_rows": 100001}, {"credential_id": ""}, {"tls": "yes"}])
def test_arguments_are_checked_before_anything_happens(change: dict[str, object]) -> None:
    good = {"db_type": "mysql", "credential_id": "1", "host": "h", "database": "d", "sql": "SELECT 1"}
    with pytest.raises(InvalidTask):
        DatabaseRunner().parse_args("", json.dumps(good | change))
