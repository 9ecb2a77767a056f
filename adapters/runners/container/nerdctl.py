"""containerd by the ``nerdctl`` program, with fixed argument lists."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.process.ports import Command, Exit
from adapters.runners.command import ProcessOptions
from adapters.runners.container.request import ClientDied, ContainerFailed, Engine, Request
from domain.result import EndReason
from domain.runner import CancelToken


@dataclass(frozen=True, slots=True)
class Nerdctl:
    run: Callable[[Command], Exit]
    options: ProcessOptions
    environment: Mapping[str, str]
    log: Callable[[bytes], None]

    def perform(
        self, request: Request, labels: Mapping[str, str], directory: Path, cancel: CancelToken
    ) -> dict[str, Any]:
        """The output of 10.2; raises ContainerFailed with nerdctl's own words."""
        base = base_words(request.engine)
        if request.action == "run":
            return self._run(base, request, labels, cancel)
        for words in _steps(request):
            ended = self._call([*base, *words], directory)
            if ended.reason is not EndReason.COMPLETED and request.action != "exec":
                raise failed(request.action, ended)
        text = ended.stdout.decode("utf-8", "replace")
        return {"action": request.action} | _output(request, text, ended)

    def _run(self, base: list[str], request: Request, labels: Mapping[str, str], cancel: CancelToken) -> dict[str, Any]:
        name = request.name or f"cronjob-{uuid.uuid4().hex[:12]}"
        words = ["run", "--name", name, *(["--detach"] if request.detach else [])]
        words += [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        words += [word for item in request.ports for word in ("--publish", item)]
        words += [word for item in request.volumes for word in ("--volume", item)]
        words += ["--network", request.network] if request.network else []
        words += ["--restart", request.restart] if request.restart else []
        words += ["--rm"] if request.remove else []
        words += ["--entrypoint", request.entrypoint[0]] if request.entrypoint else []
        # Values of variables may be secrets, and every user may read an argument list (G64): they go by a private file.
        with tempfile.NamedTemporaryFile("w", prefix=f"{self.options.temporary}env-", encoding="utf-8") as variables:
            variables.writelines(f"{key}={value}\n" for key, value in request.variables.items())
            variables.flush()
            words += ["--env-file", variables.name] if request.variables else []
            ended = self._call([*base, *words, request.image, *request.entrypoint[1:], *request.command], None)
        if cancel.requested:
            raise failed("run", ended)
        if ended.reason not in (EndReason.COMPLETED, EndReason.EXIT_CODE) or (request.detach and ended.exit_code):
            raise failed("run", ended)
        text = ended.stdout.decode("utf-8", "replace")
        found = {"action": "run", "container_id": text.strip() if request.detach else name, "name": name}
        if request.detach:
            return found | {"status": "running"}
        return found | {"status": "exited", "exit_code": ended.exit_code, "output": text}

    def _call(self, argv: list[str], directory: Path | None) -> Exit:
        return self.run(
            Command(argv, directory, self.environment, self.log, self.options.keep, grace=self.options.grace)
        )


def base_words(engine: Engine) -> list[str]:
    return ["nerdctl", "--namespace", engine.namespace, *(["--address", engine.socket] if engine.socket else [])]


def failed(action: str, ended: Exit) -> ContainerFailed:
    told = ended.stderr.decode("utf-8", "replace").strip()[-2000:]
    kind = ClientDied if ended.reason in (EndReason.SIGNAL, EndReason.OUT_OF_MEMORY) else ContainerFailed
    return kind(f"nerdctl {action} failed: {told or ended.error}")


def _steps(request: Request) -> list[list[str]]:
    """A push names the image as the registry wants it first, and may push it as latest, too (K12)."""
    steps = [_words(request)]
    if request.action == "push":
        final = request.final_image
        name, colon, tag = final.rpartition(":")
        latest = f"{name if colon and '/' not in tag else final}:latest"
        steps = [["tag", request.image, final], *steps] if final != request.image else steps
        if request.tag_latest and latest not in (final, f"{final}:latest"):
            steps += [["tag", request.image, latest], ["push", latest]]
    return steps


def _words(request: Request) -> list[str]:
    target = request.container
    wait = ["--time", str(request.timeout)] if request.timeout > 0 else []
    force = ["--force"] if request.force else []
    tail = request.tail if request.tail > 0 else request.lines
    match request.action:
        case "pull":
            return ["pull", request.final_image]
        case "push":
            return ["push", request.final_image]
        case "stop" | "restart":
            return [request.action, *wait, target]
        case "start":
            return ["start", target]
        case "remove" if target:
            return ["rm", *force, *(["--volumes"] if request.remove_volumes else []), target]
        case "remove":
            return ["rmi", *force, request.image]
        case "logs":
            flags = [*(["--follow"] if request.follow else []), *(["--timestamps"] if request.timestamps else [])]
            return ["logs", *flags, *(["--tail", str(tail)] if tail > 0 else []), target]
        case "exec":
            return ["exec", *(["--tty"] if request.tty else []), target, *request.exec_command]
        case "inspect":
            return ["inspect", "--mode", "dockercompat", target]
        case "stats":
            return ["stats", "--no-stream", "--format", "{{json .}}", target]
        case "prune":
            if request.type == "all":
                return ["system", "prune", "--force", "--volumes"]
            return [request.type, "prune", "--force"]
    flags = [word for tag in request.tags for word in ("--tag", tag)]
    flags += [word for key, value in request.build_args.items() for word in ("--build-arg", f"{key}={value}")]
    flags += ["--file", os.path.join(request.context, request.dockerfile)] if request.dockerfile else []
    flags += [*(["--no-cache"] if request.no_cache else []), *(["--pull"] if request.pull else [])]
    return ["build", *flags, request.context]


def _output(request: Request, text: str, ended: Exit) -> dict[str, Any]:
    target = {"container": request.container}
    match request.action:
        case "pull" | "push":
            return {"image": request.final_image}
        case "remove":
            return {"type": "container", **target} if request.container else {"type": "image", "image": request.image}
        case "logs":
            return target | {"logs": text}
        case "exec":
            return target | {"command": request.exec_command, "output": text, "exit_code": ended.exit_code}
        case "inspect":
            return target | _inspected(text, request.check_health)
        case "stats":
            return target | _sampled(text)
        case "prune":
            return {"type": request.type, "deleted_count": len(text.split("\n\n", maxsplit=1)[0].splitlines()[1:])} | {
                "space_reclaimed": 0
            }
        case "build":
            return {"image_id": "", "tags": request.tags}
    return target


def _inspected(text: str, check_health: bool) -> dict[str, Any]:
    seen = _json(text)
    seen = seen[0] if isinstance(seen, list) and seen else seen
    found = {
        "container_id": seen["Id"], "name": seen["Name"], "status": seen["State"]["Status"],
        "image": seen.get("Image", ""), "created": seen["Created"],
    }  # fmt: skip
    health = seen["State"].get("Health")
    return found | ({"health": health["Status"]} if check_health and health else {})


def _sampled(text: str) -> dict[str, Any]:
    seen = _json(text)
    number = {key: float(str(seen.get(key, "0")).rstrip("%") or 0) for key in ("CPUPerc", "MemPerc")}
    usage, _, limit = str(seen.get("MemUsage", "")).partition(" / ")
    return {
        "cpu_percent": number["CPUPerc"], "memory_percent": number["MemPerc"], "memory_usage": _bytes(usage),
        "memory_limit": _bytes(limit),
    }  # fmt: skip


def _bytes(text: str) -> int:
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "B": 1}
    for unit, size in units.items():
        if text.strip().endswith(unit):
            return int(float(text.strip().removesuffix(unit)) * size)
    return 0


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ContainerFailed("nerdctl answered something that is not JSON") from None
