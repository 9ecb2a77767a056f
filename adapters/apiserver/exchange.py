"""What one HTTP exchange is made of: pools, headers, the body of an answer, and where a redirect may lead."""

from __future__ import annotations

import logging
import ssl
from urllib.parse import urljoin, urlsplit

import urllib3

from adapters.apiserver.connection import TimedHTTPPool, TimedHTTPSPool
from adapters.wire.endpoints import ProxyAddress, location
from domain.errors import Unavailable

BODY_LIMIT = 64 << 20
_CHUNK = 1 << 16


def open_pools(context: ssl.SSLContext | None, proxy: ProxyAddress | None) -> urllib3.PoolManager:
    # The library logs whole URLs, and ours hold lock values.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    pools: urllib3.PoolManager
    if proxy is None:
        pools = urllib3.PoolManager(maxsize=64, ssl_context=context)
    else:
        credentials = {"Proxy-Authorization": proxy.authorization} if proxy.credentials else None
        pools = urllib3.ProxyManager(
            f"http://{proxy.authority}", maxsize=64, ssl_context=context, proxy_headers=credentials
        )
    pools.pool_classes_by_scheme = {"http": TimedHTTPPool, "https": TimedHTTPSPool}
    return pools


def headers_of(token: str, with_body: bool) -> dict[str, str]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "cronjob-worker"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if with_body:
        headers["Content-Type"] = "application/json"
    return headers


def read_body(response: urllib3.BaseHTTPResponse, call: str) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unavailable(f"{call}: the answer is compressed though that was not asked for")
    body = bytearray()
    while chunk := response.read(_CHUNK, decode_content=False):
        body += chunk
        if len(body) > BODY_LIMIT:
            raise Unavailable(f"{call}: the answer is larger than {BODY_LIMIT >> 20} MiB")
    return bytes(body)


def redirected(method: str, call: str, url: str, status: int, wish: str | None) -> str:
    """Where a redirect leads, within the server. Raises Unavailable where it is not to be followed."""
    where = location(wish or "")
    try:
        target = urljoin(url, where)
        same = bool(where) and _origin(url) == _origin(target)
    except ValueError:
        target, same = "", False
    if not same or (method != "GET" and status not in (307, 308)):
        # Following it would show the key to another host, or turn a POST into a GET.
        raise Unavailable(f"{call}: answered {status}, a redirect that is not followed; check the API address")
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
