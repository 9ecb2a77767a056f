"""The thirteen actions on an engine of the Docker API; each returns the output of 10.2."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.process.output import HeadTail
from adapters.runners.container.client import attached, exec_output, logged, translated
from adapters.runners.container.figures import figures
from adapters.runners.container.request import PRUNABLE, ContainerFailed, Request, port, restart

Output = dict[str, Any]


@dataclass
class Actions:
    """``log`` takes live output. What a run knows of its container may be read from outside, also after it failed.

    ``asked``: the engine was asked for a container and did not refuse; ``container``: its id, once that is known;
    ``started``: it runs or ran; ``unremoved``: it has ended and shall go, and the engine did not remove it.
    """

    api: Any
    request: Request
    log: Callable[[bytes], None]
    labels: Mapping[str, str]
    auth: Mapping[str, str] | None
    directory: Path
    keep: int
    asked: bool = False
    container: str = ""
    started: bool = False
    unremoved: bool = False

    def perform(self) -> Output:
        action = self.request.action
        done: Output = getattr(self, f"_{action}")()
        return {"action": action} | done

    def _build(self) -> Output:
        from docker.utils.build import tar

        root = self.directory / self.request.context
        if not root.is_dir():
            raise ContainerFailed(f"the build context {root} is not a directory")
        ignore = root / ".dockerignore"
        lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.is_file() else []
        excluded = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        with tempfile.TemporaryFile() as archive:
            name = self.request.dockerfile or "Dockerfile"
            tar(str(root), [*excluded, "**/.git", ".git"], dockerfile=(name, None), fileobj=archive)
            archive.seek(0)
            stream = self.api.build(
                fileobj=archive, custom_context=True, tag=self.request.tags[0], dockerfile=name, rm=True, decode=True,
                buildargs=self.request.build_args, nocache=self.request.no_cache, pull=self.request.pull,
            )  # fmt: skip
            image = self._progress(stream)
        for tag in self.request.tags[1:]:
            self._tag(self.request.tags[0], tag)
        image = image or self.api.inspect_image(self.request.tags[0])["Id"]
        return {"image_id": image, "tags": self.request.tags}

    def _progress(self, stream: Iterable[Mapping[str, Any]]) -> str:
        """Log each line; an error line fails (K4). Returns the id of a built image."""
        image = ""
        for line in stream:
            if line.get("error") or line.get("errorDetail"):
                raise ContainerFailed(str(line.get("error") or line["errorDetail"].get("message")).strip())
            image = (line.get("aux") or {}).get("ID", image)
            text = line.get("stream") or " ".join(
                str(line[key]) for key in ("id", "status", "progress") if line.get(key)
            )
            if text.strip():
                self.log(f"{text.rstrip()}\n".encode())
        return image

    def _tag(self, image: str, name: str) -> None:
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(name)
        self.api.tag(image, repository, tag or "latest")

    def _fetch(self, image: str) -> None:
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(image)
        self._progress(
            self.api.pull(repository, tag or "latest", stream=True, decode=True, auth_config=self.auth or {})
        )

    def _pull(self) -> Output:
        self._fetch(self.request.final_image)
        return {"image": self.request.final_image}

    def _push(self) -> Output:
        from docker.utils import parse_repository_tag

        final = self.request.final_image
        repository, tag = parse_repository_tag(final)
        names = [f"{repository}:{tag or 'latest'}"]
        if self.request.tag_latest and tag != "latest":
            names.append(f"{repository}:latest")
        for name in names:
            if name != self.request.image:
                self._tag(self.request.image, name)
            self._progress(
                self.api.push(
                    repository, name.rpartition(":")[2], stream=True, decode=True, auth_config=self.auth or {}
                )
            )
        return {"image": final}

    def _run(self) -> Output:
        from docker.errors import APIError, ImageNotFound

        wait = not self.request.detach
        try:
            self.api.inspect_image(self.request.image)
        except ImageNotFound:
            self._fetch(self.request.image)
        self.asked = True
        try:
            made = self.api.create_container_from_config(self._body(wait), self.request.name or None)
        except APIError:
            self.asked = False
            raise
        self.container = made["Id"]
        parts = attached(self.api, self.container) if wait else None
        self.api.start(self.container)
        self.started = True
        return self._running(self.container) if parts is None else self._waited(self.container, parts)

    def _body(self, wait: bool) -> Output:
        request = self.request
        bindings: dict[str, list[dict[str, str]]] = {}
        for inner, (address, host) in map(port, request.ports):
            bindings.setdefault(inner, []).append({"HostIp": address, "HostPort": host})
        host_config: Output = {
            "Binds": [volume for volume in request.volumes if ":" in volume], "PortBindings": bindings,
            "RestartPolicy": restart(request.restart), "AutoRemove": request.remove and not wait,
        }  # fmt: skip
        if request.network:
            host_config["NetworkMode"] = request.network
        return {
            "Image": request.image, "Cmd": request.command or None, "Entrypoint": request.entrypoint or None,
            "Env": [f"{name}={value}" for name, value in request.variables.items()],
            "ExposedPorts": {inner: {} for inner in bindings}, "Labels": dict(self.labels),
            "Volumes": {volume: {} for volume in request.volumes if ":" not in volume}, "HostConfig": host_config,
        }  # fmt: skip

    def _running(self, container: str) -> Output:
        from docker.errors import NotFound

        try:
            seen = self.api.inspect_container(container)
        except NotFound:  # ended and removed itself already
            return {"container_id": container, "name": self.request.name, "status": "removed"}
        state = seen["State"]
        output = {"container_id": container, "name": seen["Name"].lstrip("/"), "status": state["Status"]}
        # Podman has a state of its own, "stopped", between the end and what is to be done after it.
        if state["Status"] in ("exited", "stopped", "dead") and state.get("ExitCode"):
            raise ContainerFailed(f"the container {output['name']} ended at once with code {state['ExitCode']}")
        return output

    def _waited(self, container: str, parts: Iterable[bytes]) -> Output:
        text = self._stream(parts)
        code = self.api.wait(container)["StatusCode"]
        output = {"container_id": container, "name": self.request.name, "status": "exited", "exit_code": code}
        # The run has ended as it has ended, whatever becomes of what else is asked.
        with contextlib.suppress(ContainerFailed), translated():
            output["name"] = self.api.inspect_container(container)["Name"].lstrip("/")
        if self.request.remove:
            self.unremoved = True
            with contextlib.suppress(ContainerFailed), translated():
                self.api.remove_container(container, v=True, force=True)
                self.unremoved = False
        return output | {"output": text}

    def _stream(self, parts: Iterable[bytes]) -> str:
        """Log live, remember a bounded part (K5); nothing empty goes to the log (K13)."""
        memory = HeadTail(self.keep)
        for part in parts:
            if part:
                memory.feed(part)
                self.log(part)
        return memory.value().decode("utf-8", "replace")

    def _stop(self) -> Output:
        return self._moved(self.api.stop)

    def _start(self) -> Output:
        self.api.start(self.request.container)
        return {"container": self.request.container}

    def _restart(self) -> Output:
        return self._moved(self.api.restart)

    def _moved(self, move: Callable[..., Any]) -> Output:
        wait = self.request.timeout
        path = f"/containers/{{0}}/{move.__name__}"
        answer = self.api._post(self.api._url(path, self.request.container), params={"t": wait} if wait > 0 else {})
        self.api._raise_for_status(answer)
        return {"container": self.request.container}

    def _remove(self) -> Output:
        request = self.request
        if request.container:
            self.api.remove_container(request.container, force=request.force, v=request.remove_volumes)
            return {"type": "container", "container": request.container}
        self.api.remove_image(request.image, force=request.force)
        return {"type": "image", "image": request.image}

    def _logs(self) -> Output:
        request = self.request
        tail = request.tail if request.tail > 0 else request.lines
        query = {"stdout": True, "stderr": True, "follow": request.follow, "timestamps": request.timestamps}
        parts = logged(self.api, request.container, query | {"tail": tail if tail > 0 else "all"})
        return {"container": request.container, "logs": self._stream(parts)}

    def _exec(self) -> Output:
        request = self.request
        made = self.api.exec_create(request.container, request.exec_command, tty=request.tty, stdin=False)
        text = self._stream(exec_output(self.api, made["Id"], request.tty))
        code = self.api.exec_inspect(made["Id"]).get("ExitCode")
        output: Output = {"container": request.container, "command": request.exec_command, "output": text}
        return output | {"exit_code": code if code is not None else -1}

    def _inspect(self) -> Output:
        seen = self.api.inspect_container(self.request.container)
        output = {
            "container": self.request.container, "container_id": seen["Id"], "name": seen["Name"],
            "status": seen["State"]["Status"], "image": seen["Config"]["Image"], "created": seen["Created"],
        }  # fmt: skip
        health = (seen["State"].get("Health") or {}).get("Status")  # Podman's is "" where nothing is checked
        return output | ({"health": health} if self.request.check_health and health else {})

    def _prune(self) -> Output:
        kinds = PRUNABLE if self.request.type == "all" else (self.request.type,)
        # Containers go first: what only they held can then go too.
        count = space = 0
        for kind in sorted(kinds, key=("container", "network", "volume", "image").index):
            done = getattr(self.api, f"prune_{kind}s")(filters=self.request.filters)
            deleted = done.get("ImagesDeleted", done.get(f"{kind.capitalize()}sDeleted")) or []
            count += len(deleted)
            space += done.get("SpaceReclaimed") or 0
        return {"type": self.request.type, "deleted_count": count, "space_reclaimed": space}

    def _stats(self) -> Output:
        return {"container": self.request.container} | figures(
            lambda: self.api.stats(self.request.container, stream=False)
        )
