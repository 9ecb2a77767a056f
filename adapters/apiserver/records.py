"""What else the API server keeps: the scripts of its categories, and credentials (protocol 6.6, 6.7)."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.apiserver.client import Client
from adapters.apiserver.fields import mapping, text, uuid_text
from adapters.wire.endpoints import path_part
from application.ports import Category
from domain.errors import NotFound, Refused
from domain.runner import Credential


class HttpRecords:
    """The CategoryScripts port and a CredentialSource. Any thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def category(self, code: str) -> Category:
        if not code or code in (".", ".."):
            raise NotFound(f"there is no category {code!r}")
        data = mapping("category", self._client.get(f"/category/{path_part(code)}/"))
        return Category(code, text(data, "check"), text(data, "setup"), text(data, "teardown"))

    def credential(self, credential_id: str) -> Credential:
        call = f"/credentials/{uuid_text(credential_id)}/decrypt/"
        data = mapping("credential", self._client.post(call, repeatable=True))
        if data.get("is_active") is not True:
            raise Refused(f"the credential {credential_id} is not active")
        value = data.get("value")
        if not isinstance(value, Mapping):
            raise Refused(f"the credential {credential_id} holds no fields")
        return Credential(credential_id, text(data, "category"), text(data, "name"), dict(value))
