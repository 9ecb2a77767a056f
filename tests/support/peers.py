"""Real servers for tests, each on a free loopback port in a directory of its own, and gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {
    "mariadb": "mariadb-server",
    "postgresql": "postgresql",
    "redis": "redis-server",
}
PASSWORD = "peer secret '%\\"  # awkward on purpose
PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/lib/postgresql/17/bin:/usr/lib/postgresql/15/bin"


class Missing(Exception):
    """The server is not installed; tells the package that helps."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not installed: apt-get install {PACKAGES[name]}")


@dataclass(frozen=True, slots=True)
class Peer:
    host: str
    port: int
    username: str
    password: str
    folder: Path


def program(name: str, peer: str) -> str:
    found = shutil.which(name, path=f"{PROGRAMS}:{os.environ.get('PATH', '')}")
    if found is None:
        raise Missing(peer)
    return found


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def _folder(user: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="peer-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(path, user)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _as(user: str, command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return command
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups", *command]


def _prepare(command: list[str]) -> None:
    """Raises RuntimeError with the words of a command that fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit status {done.returncode}: {done.stdout[-2000:]}")


@contextmanager
def _running(command: list[str], port: int, folder: Path, ready: Callable[[], bool]) -> Iterator[None]:
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0)
    try:
        until = time.monotonic() + 30
        while not (_listens(port) and ready()):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[-1]} did not start: {(folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        try:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(5)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def redis_peer() -> Iterator[Peer]:
    server, port = program("redis-server", "redis"), free_port()
    with _folder("nobody") as folder:
        (folder / "redis.conf").write_text(
            f'port {port}\nbind 127.0.0.1\nsave ""\nappendonly no\ndir {folder}\nuser default on >secret ~* +@all\n'
            "user worker on >limited ~* +@all\n"
        )
        with _running([server, str(folder / "redis.conf")], port, folder, lambda: True):
            yield Peer("127.0.0.1", port, "worker", "limited", folder)


@contextmanager
def postgresql_peer() -> Iterator[Peer]:
    server, init, port = program("postgres", "postgresql"), program("initdb", "postgresql"), free_port()
    with _folder("postgres") as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = str(folder / "data")
        _prepare(_as("postgres", [init, "-D", data, "-U", "worker", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"]))
        words = [server, "-D", data, "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
        state = Path(data) / "postmaster.pid"

        def ready() -> bool:
            """Its helpers have been started too: a test that counts processes must not meet them half way."""
            return "ready" in state.read_text()

        with _running(_as("postgres", [*words, "-c", "listen_addresses=127.0.0.1"]), port, folder, ready):
            yield Peer("127.0.0.1", port, "worker", PASSWORD, folder)


@contextmanager
def mariadb_peer() -> Iterator[Peer]:
    server, install, port = program("mariadbd", "mariadb"), program("mariadb-install-db", "mariadb"), free_port()
    user = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with _folder(user) as folder:
        first = folder / "first.sql"
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        first.write_text(
            f"CREATE DATABASE jobs;\nCREATE USER worker@'%' IDENTIFIED BY '{quoted}';\n"
            f"GRANT ALL ON *.* TO worker@'%';\n"
        )
        # Not the temporary directory of all: each server that starts removes the tables of the others there.
        places = [f"--datadir={folder}/data", f"--tmpdir={folder}"]
        _prepare(_as(user, [install, "--no-defaults", *places, "--skip-test-db"]))
        words = [server, "--no-defaults", *places, f"--port={port}", f"--socket={folder}/s.sock"]
        words += ["--bind-address=127.0.0.1", "--skip-name-resolve", f"--init-file={first}", f"--pid-file={folder}/p"]
        with _running(_as(user, words), port, folder, lambda: True):
            yield Peer("127.0.0.1", port, "worker", PASSWORD, folder)
