"""Real git servers on loopback for tests: repositories, and https with basic auth in front of ``git http-backend``."""

from __future__ import annotations

import base64
import http.server
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

from tests.support.peers_small import Served


def git(directory: Path, *words: str) -> str:
    """Run git as a developer would; returns what it printed."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(directory), "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "file",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *words], cwd=directory, env=environment, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


class Origin:
    """A bare repository and a working copy that feeds it."""

    def __init__(self, root: Path) -> None:
        self.bare, self.work = root / "repo.git", root / "work"
        root.mkdir(parents=True, exist_ok=True)
        git(root, "init", "-q", "--bare", "-b", "main", str(self.bare))
        git(root, "init", "-q", "-b", "main", str(self.work))
        git(self.work, "remote", "add", "origin", str(self.bare))
        self.commit("a.txt", "one\n")

    @property
    def url(self) -> str:
        return f"file://{self.bare}"

    def commit(self, name: str, text: str, branch: str = "main") -> str:
        """Write one file, commit and push (by force); returns the commit."""
        (self.work / name).write_text(text)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "-m", name)
        git(self.work, "push", "-q", "-f", "origin", f"HEAD:{branch}")
        return git(self.work, "rev-parse", "HEAD")


def https_git(root: Path, user: str, password: str, tls: ssl.SSLContext) -> Served:
    """Serve the repositories below ``root`` over https to who knows the password."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, *_: Any) -> None: ...

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environment = {
                "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": user,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "", "CONTENT_LENGTH": str(len(body)),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            }  # fmt: skip
            done = subprocess.run(
                ["git", "http-backend"], input=body, env=environment, capture_output=True, timeout=30, check=False
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Served(Handler, tls)
