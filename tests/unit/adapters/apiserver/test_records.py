"""Categories and credentials over scripted answers (protocol 6.6, 6.7)."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.apiserver.records import HttpRecords
from domain.errors import NotFound, Refused
from tests.support.scripted_api import api, good

ID = "269e926b-ffce-4ce9-aa68-71df36d15a7e"


def test_a_category_with_odd_characters_stays_one_part_of_the_path() -> None:
    with api(good({"code": "a/b", "check": "which git", "setup": None})) as (client, server):
        assert HttpRecords(client).category("a/b").check == "which git"
        assert HttpRecords(client).category("a/b").setup == ""
        with pytest.raises(NotFound):
            HttpRecords(client).category("..")
    assert server.lines[0] == "GET /api/v1/category/a%2Fb/"


def test_an_active_credential_is_returned_and_its_value_hidden() -> None:
    data = {"id": ID, "category": "api_token", "name": "n", "value": {"token": "t0p"}, "is_active": True}
    with api(good(data)) as (client, server):
        credential = HttpRecords(client).credential(ID)
    assert credential.value == {"token": "t0p"}
    assert "t0p" not in repr(credential)
    assert server.lines == [f"POST /api/v1/credentials/{ID}/decrypt/"]


@pytest.mark.parametrize("active", [False, None, "true", 1])
def test_a_credential_that_is_not_surely_active_is_refused(active: Any) -> None:
    with api(good({"is_active": active, "value": {"token": "t0p"}})) as (client, _):
        with pytest.raises(Refused) as caught:
            HttpRecords(client).credential(ID)
        assert "t0p" not in str(caught.value)
