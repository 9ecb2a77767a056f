"""The request that a task asks for."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

from adapters.runners.arguments import substitute
from domain.errors import InvalidTask
from domain.runner import ExecutionContext

WITH_BODY = ("POST", "PUT", "PATCH")
RESPONSE_CAP = 1 << 20
SECRET_HEADERS = ("authorization", "cookie", "proxy-authorization")


@dataclass(frozen=True, slots=True)
class HttpArgs:
    url: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    expected_status: list[int] = field(default_factory=list)
    credential_id: str = ""
    verify_tls: bool = True
    ca_file: str = ""
    follow_redirects: bool = True
    max_redirects: int = 10
    max_response_bytes: int = RESPONSE_CAP
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


def make_request(args: HttpArgs, context: ExecutionContext) -> Request:
    known = context.environment
    url = substitute(args.url, known)
    check_url(url)
    if args.query:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape")
        pairs += [(key, substitute(value, known)) for key, value in args.query.items()]
        pairs.sort(key=lambda pair: pair[0])  # values of one name stay in their order
        url = urlunsplit(parts._replace(query=urlencode(pairs, errors="surrogateescape")))
    headers = {name: substitute(value, known) for name, value in args.headers.items()}
    for name, value in headers.items():
        if any(character in name + value for character in "\r\n\0"):
            raise InvalidTask(f"header {name!r} holds a line break")
    body = None
    method = args.method.strip().upper() or "GET"
    if args.body is not None:
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
        if method in WITH_BODY:
            body = json.dumps(fill(args.body, known), ensure_ascii=False).encode("utf-8", "replace")
    if args.credential_id:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = authorization(args, context)
    elif urlsplit(url).username and not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = basic(unquote(urlsplit(url).username or ""), unquote(urlsplit(url).password or ""))
    for secret in secrets_in(url, headers):
        context.redact(secret)
    if not any(name.lower() == "user-agent" for name in headers):
        headers["User-Agent"] = "cronjob-worker"
    return Request(method, url, headers, body)


def authorization(args: HttpArgs, context: ExecutionContext) -> str:
    if context.credentials is None:
        raise InvalidTask("credential_id: there is nowhere to get credentials from")
    credential = context.credentials.credential(args.credential_id)
    value = credential.value
    if credential.category == "api_token" and isinstance(value.get("token"), str):
        return f"Bearer {value['token']}"
    if isinstance(value.get("username"), str) and isinstance(value.get("password"), str):
        return basic(value["username"], value["password"])
    raise InvalidTask(f"credential_id: category {credential.category!r} is neither username_password nor api_token")


def redirected(request: Request, status: int, target: str) -> Request:
    """The next request: 307 and 308 repeat, the others become GET; credentials stay with their own host."""
    url = urljoin(request.url, target)
    try:
        check_url(url)
    except InvalidTask as error:
        raise ValueError(f"a redirect that cannot be followed: {error}") from None
    headers = dict(request.headers)
    if urlsplit(url)[:2] != urlsplit(request.url)[:2]:
        headers = {name: value for name, value in headers.items() if name.lower() not in (*SECRET_HEADERS, "host")}
    if status in (307, 308) or request.method in ("GET", "HEAD"):
        return Request(request.method, url, headers, request.body)
    headers = {name: value for name, value in headers.items() if name.lower() not in ("content-type", "content-length")}
    return Request("GET", url, headers, None)


def check_url(url: str) -> None:
    """Raises InvalidTask where there is nothing that could be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidTask(f"url is not valid: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidTask("url must begin with http:// or https://")
    if not parts.hostname:
        raise InvalidTask("url names no host")
    if port == 0:
        raise InvalidTask("url: there is no port 0")


def secrets_in(url: str, headers: Mapping[str, str]) -> list[str]:
    """What a server that repeats what it was told must not carry into output and log (G63)."""
    found = [unquote(urlsplit(url).password or "")]
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            found += [value, value.rpartition(" ")[2]]  # with and without a word such as Bearer
    return [secret for secret in found if secret]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode()


def ascii_host(host: str) -> str:
    """The name as DNS knows it."""
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise InvalidTask(f"url: {host!r} is not a host name") from None


def safe_url(url: str) -> str:
    """The URL without what may be secret: user, password, query values."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    if parts.port:
        place += f":{parts.port}"
    query = "&".join(f"{key}=***" for key, _ in parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def fill(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return substitute(value, environment)
    if isinstance(value, list):
        return [fill(item, environment) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, environment) for key, item in value.items()}
    return value
