"""A client of the Docker API whose blocked requests can be ended from another thread."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.net.connections import Connections
from adapters.process.temporary_files import ANYBODY
from adapters.runners.container.request import ContainerFailed, Engine
from domain.errors import InvalidTask, MissingExtra
from domain.runner import CredentialSource

if TYPE_CHECKING:
    from docker import APIClient

DOCKER_SOCKET = "/var/run/docker.sock"


class Lines:
    """The sockets of one client. After ``cut`` each blocked and each new request fails at once; any thread."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._connections = Connections()
        self._cut = False

    def dial(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """A TCP connection that ``cut`` ends also while it is being made, or shakes hands."""
        return self._connections.dial(host, port, timeout)

    def add(self, line: socket.socket) -> None:
        self._sockets.append(line)
        if self._cut:
            self.cut()

    def cut(self) -> None:
        self._cut = True
        self._connections.hang_up()
        for line in tuple(self._sockets):
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by itself meanwhile

    def close(self) -> None:
        """Close what the client left open, such as the stream of an exec."""
        for line in self._sockets:
            # A response that was not read to its end would keep the descriptor open after a mere close.
            descriptor = line.detach()
            if descriptor >= 0:
                socket.close(descriptor)
        self._sockets.clear()
        self._connections.close()


def connect(
    engine: Engine, tls: Mapping[str, Any] | None, lines: Lines, timeout: float | None, temporary: str = ANYBODY
) -> APIClient:
    """A client that has agreed on a version with the engine; raises docker's errors. ``timeout`` is per read."""
    try:
        from docker import APIClient
    except ImportError:
        raise MissingExtra("container", "docker") from None
    if engine.host:
        base = engine.host if "://" in engine.host else f"tcp://{engine.host}"
    else:
        base = f"unix://{engine.socket or DOCKER_SOCKET}"
    private = tempfile.TemporaryDirectory(prefix=f"{temporary}container-")
    try:
        config = _tls(Path(private.name), tls) if engine.tls else None
        client = APIClient(base_url=base, version="1.41", timeout=timeout, tls=config)
        client.trust_env = False  # else a proxy, a netrc or REQUESTS_CA_BUNDLE of the environment would count more
        _track(client, lines)
        client._version = _spoken(client)
    except BaseException:
        lines.close()
        private.cleanup()
        raise
    plain = client.close

    def close() -> None:
        """The key files are read for each new connection, so they go with the client."""
        plain()
        lines.close()
        private.cleanup()

    client.close = close
    return client


def _spoken(client: Any) -> str:
    """The version of the API that the engine speaks. Its /version would do, but that costs Podman 0.3 s and more."""
    answer = client._get(client._url("/_ping", versioned_api=False))
    client._raise_for_status(answer)
    return answer.headers.get("Api-Version") or str(client.version(api_version=False)["ApiVersion"])


def exec_output(api: Any, name: str, tty: bool) -> Iterator[bytes]:
    """Start what an exec is to run, and give its output; raises docker's errors."""
    return _hijacked(api, api._url("/exec/{0}/start", name), {"Tty": tty, "Detach": False}, tty)


def attached(api: Any, name: str) -> Iterator[bytes]:
    """The output of a container from now on; raises docker's errors.

    From the pipe: the log of Docker 20.10, followed, often ends before a last line that no line break ends, and that of
    Podman 4.3 sometimes never.
    """
    path = api._url("/containers/{0}/attach", name) + "?stream=1&stdout=1&stderr=1"
    return _hijacked(api, path, {}, False)


def logged(api: Any, name: str, query: Mapping[str, Any]) -> Iterator[bytes]:
    """The log of a container; raises docker's errors, also where it is cut short, which the SDK takes for its end."""
    tty = api.inspect_container(name)["Config"]["Tty"]
    answer = api._get(api._url("/containers/{0}/logs", name), params=query, stream=True)
    api._raise_for_status(answer)
    if tty:
        yield from answer.raw.stream(1)
    while not tty and (head := answer.raw.read(8)):
        yield answer.raw.read(int.from_bytes(head[4:8], "big"))


def _hijacked(api: Any, path: str, body: Mapping[str, Any], raw: bool) -> Iterator[bytes]:
    """The SDK's own way reads past what came together with the head of the answer, so a short output may be lost."""
    headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
    answer = api._post_json(path, headers=headers, data=body, stream=True)
    api._raise_for_status(answer)

    def parts() -> Iterator[bytes]:
        reader = answer.raw._fp.fp  # which would be closed with the last reference to the answer
        while part := reader.read1(65536) if raw else reader.read(8):
            yield part if raw else reader.read(int.from_bytes(part[4:8], "big"))

    return parts()


def secret_of(source: CredentialSource | None, credential_id: str, category: str) -> Mapping[str, Any] | None:
    """The fields of a credential, None where none is named. Raises InvalidTask, CoordinationError."""
    if not credential_id:
        return None
    if source is None:
        raise InvalidTask("the task names a credential, but this worker has no source of credentials")
    found = source.credential(credential_id)
    if found.category != category:
        raise InvalidTask(f"credential {found.name} is a {found.category}, wanted is a {category}")
    return found.value


def _tls(directory: Path, values: Mapping[str, Any] | None) -> Any:
    from docker.tls import TLSConfig

    if values is None:
        raise InvalidTask("tls needs tls_cred: a key_value credential with ca_cert, client_cert and client_key")
    names = {"ca_cert": "ca.pem", "client_cert": "cert.pem", "client_key": "key.pem"}
    for key, name in names.items():
        if not isinstance(values.get(key), str):
            raise InvalidTask(f"the credential of tls_cred has no {key}")
        descriptor = os.open(directory / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(values[key].strip() + "\n")
    pair = (str(directory / "cert.pem"), str(directory / "key.pem"))
    return TLSConfig(client_cert=pair, ca_cert=str(directory / "ca.pem"), verify=True)


def _track(client: Any, lines: Lines) -> None:
    """Let every connection that the client opens be known to ``lines``."""
    from docker.transport import unixconn
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def tracked(kind: Any) -> Any:
        class Tracked(kind):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                lines.add(self.sock)

        return Tracked

    class Unix(unixconn.UnixHTTPConnection):  # type: ignore[misc]
        def connect(self) -> None:
            """As docker's, which leaves the socket open where nobody listens."""
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.settimeout(self.timeout)
            try:
                line.connect(self.unix_socket)
            except OSError as error:
                line.close()
                raise OSError(error.errno, error.strerror, self.unix_socket) from None
            except BaseException:
                line.close()
                raise
            self.sock = line

    unix = tracked(Unix)

    class Pool(unixconn.UnixHTTPConnectionPool):  # type: ignore[misc]
        def _new_conn(self) -> Any:
            return unix(self.base_url, self.socket_path, self.timeout)

    adapter = getattr(client, "_custom_adapter", None)  # there is one for unix sockets only
    if isinstance(adapter, unixconn.UnixHTTPAdapter):
        pool = Pool(client.base_url, adapter.socket_path, adapter.timeout, maxsize=adapter.max_pool_size)
        adapter.get_connection = lambda *_, **__: pool
        adapter.get_connection_with_tls_context = lambda *_, **__: pool
        return

    def new_connection(connection: Any) -> socket.socket:
        limit = connection.timeout
        return lines.dial(connection._dns_host, connection.port, limit if isinstance(limit, (int, float)) else None)

    pools = {}
    for scheme, kind in (("http", HTTPConnectionPool), ("https", HTTPSConnectionPool)):
        dialled = type("Dialled", (tracked(kind.ConnectionCls),), {"_new_conn": new_connection})
        pools[scheme] = type(kind.__name__, (kind,), {"ConnectionCls": dialled})
    for scheme in pools:
        if f"{scheme}://" in client.adapters:
            client.get_adapter(f"{scheme}://").poolmanager.pool_classes_by_scheme = pools


def cause_of(error: BaseException) -> BaseException:
    """What the system said; the SDK wraps it several times."""
    inner = next((one for one in (*error.args, error.__cause__) if isinstance(one, BaseException)), None)
    return error if inner is None else cause_of(inner)


class translated:  # noqa: N801 - used like a function
    """Turns what the SDK raises into ContainerFailed with the engine's own words."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if error is None:
            return
        try:
            from docker.errors import APIError, DockerException
        except ImportError:
            return
        if isinstance(error, APIError):
            raise ContainerFailed(str(error.explanation or error)) from None
        if isinstance(error, json.JSONDecodeError):
            raise ContainerFailed("the engine answered something that is not JSON") from None
        if isinstance(error, (DockerException, OSError)) or type(error).__module__.startswith(("urllib3", "requests")):
            raise ContainerFailed(f"the engine cannot be reached or went away: {cause_of(error)}") from None
