"""Real container engines for tests: dockerd and Podman's service, each alone in namespaces and a scratch directory.

What they start, mount and write under /run, /dev/shm and /etc is theirs alone and gone with them; so are the control
groups they make. Nothing is fetched: the one image, ``busybox``, is made from the machine's own static busybox.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import jail

BUSYBOX = "/bin/busybox"
APPLETS = ("cat", "echo", "env", "false", "head", "ls", "printf", "sh", "sleep", "true", "yes")
PRIVATE = ("/run", "/dev/shm", "/etc/docker", "/var/lib/containers")
INIT = f'for place in {" ".join(PRIVATE)}; do mount -t tmpfs none "$place" || exit 1; done; "$@" & wait'
PODMAN = """[containers]
default_ulimits=["nofile=1024:1024","nproc=4096:4096"]
netns="none"
[engine]
cgroup_manager="cgroupfs"
runtime="runc"
"""


class Missing(Exception):
    """There can be no engine here; tells what would help."""


@contextlib.contextmanager
def dockerd() -> Iterator[str]:
    """The socket of a Docker of its own. Raises Missing."""
    with _scratch("dockerd", "runc") as folder:
        words = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--bridge=none"]
        words += ["--pidfile", f"{folder}/pid", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
        words += ["--host", f"unix://{folder}/s", "--cgroup-parent", f"/{folder.name}"]
        with _running(words, folder, {}):
            yield f"{folder}/s"


@contextlib.contextmanager
def podman() -> Iterator[str]:
    """The socket of a Podman of its own. Raises Missing."""
    with _scratch("podman", "conmon", "runc") as folder:
        settings = folder / "containers.conf"
        settings.write_text(PODMAN)
        words = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp"]
        words += ["--storage-driver", "vfs", "system", "service", "--time", "0", f"unix://{folder}/s"]
        with _running(words, folder, {"CONTAINERS_CONF": str(settings)}):
            yield f"{folder}/s"


@contextlib.contextmanager
def _scratch(*programs: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        raise Missing(f"{programs[0]} is not started: run the tests as root")
    if lacking := jail.missing():
        raise Missing(lacking)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin:/usr/libexec/podman:/usr/lib/podman"
    for name in (*programs, BUSYBOX):
        if shutil.which(name, path=path) is None:
            raise Missing(f"{name} is not installed: make peers (Debian: docker.io, podman, busybox-static)")
    made = [place for place in PRIVATE if not os.path.isdir(place)]
    for place in made:
        os.makedirs(place)
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        for place in made:
            os.rmdir(place)


@contextlib.contextmanager
def _running(words: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    init = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--mount", "--mount-proc", "--kill-child"]
    groups = _groups()
    with open(folder / "log", "wb") as log:
        engine = subprocess.Popen(
            [*init, "--", "bash", "-c", INIT, "init", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            process_group=0, env=os.environ | environment,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not _answers(folder / "s"):
            if engine.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{words[0]} did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        status, text = ask(folder / "s", "POST", "/v1.41/images/create?fromSrc=-&repo=busybox&tag=latest", _image())
        if status != 200:
            raise RuntimeError(f"{words[0]} took no image: {text}")
        yield
    finally:
        engine.send_signal(signal.SIGKILL)
        engine.wait()
        _remove(_groups() - groups)


def ask(place: Path, method: str, path: str, body: bytes = b"", kind: str = "x-tar") -> tuple[int, str]:
    """One request to the engine at a socket: its status and its answer. Raises OSError."""

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(30)
            self.sock.connect(str(place))

    with contextlib.closing(Connection("engine")) as connection:
        connection.request(method, path, body, {"Content-Type": f"application/{kind}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def _answers(place: Path) -> bool:
    try:
        return ask(place, "GET", "/_ping")[0] == 200
    except OSError:
        return False


def _image() -> bytes:
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return text.getvalue()


def _groups() -> set[Path]:
    """The control groups that engines keep theirs in."""
    return {it for up in ("*", "*/*") for it in Path("/sys/fs/cgroup").glob(f"{up}/") if _is_engines(it.name)}


def _is_engines(name: str) -> bool:
    return name.startswith("engine-") or name in ("libpod_parent", "docker")


def _remove(groups: set[Path]) -> None:
    """Those below first. One that still holds a process, which dies just now, is tried again."""
    deadline = time.monotonic() + 5
    while groups and time.monotonic() < deadline:
        for group in groups:
            for below in sorted(group.rglob("*/"), key=lambda it: -len(it.parts)):
                with contextlib.suppress(OSError):
                    below.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()
        groups = {it for it in groups if it.exists()}
        if groups:
            time.sleep(0.02)
