"""The commands of the worker."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import click

from domain.errors import ConfigError, WorkerError
from domain.result import Result
from domain.runner import Runner

EXAMPLES = """
\b
Examples:
  python bootstrap.py                                   run the worker
  python bootstrap.py exec command echo '["Hello"]'     one task, here and now
  python bootstrap.py exec --timeout 5 command 'sleep 60'
  python bootstrap.py config show                       every value and where it stands
  python bootstrap.py --set worker.concurrency=4 run
"""


class Shown(Protocol):
    """Loaded settings as the commands show them."""

    def rows(self) -> list[tuple[str, str, str]]: ...


@dataclass(frozen=True, slots=True)
class Program:
    """What the composition root gives the commands."""

    version: str
    load: Callable[[str | None, Mapping[str, str]], Any]
    run: Callable[[Any], int]
    runners: Callable[[Any], tuple[list[str], list[str]]]
    execute: Callable[[Any, Task], Result]


@dataclass(frozen=True, slots=True)
class Task:
    """One task from the command line. ``running`` is told the runner, so that a signal can stop it."""

    category: str
    command: str
    args: str
    timeout: float | None
    environment: Mapping[str, str]
    directory: str
    running: Callable[[Runner], None]
    log: Callable[[bytes], None]


def build(program: Program) -> click.Group:
    """The whole command line over one program."""

    @click.group(invoke_without_command=True, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
    @click.option("--config", metavar="FILE", help="settings file (else WORKER_CONFIG, else config_worker.json)")
    @click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="one setting; may be repeated")
    @click.version_option(program.version, prog_name="cronjob-worker")
    @click.pass_context
    def cli(context: click.Context, config: str | None, assignments: tuple[str, ...]) -> None:
        """Worker node of a distributed scheduled-task system. Without a command it runs the worker."""
        context.obj = lambda: program.load(config, dict(_assignment(text) for text in assignments))
        if context.invoked_subcommand is None:
            context.exit(program.run(context.obj()))

    @cli.command()
    @click.pass_context
    def run(context: click.Context) -> None:
        """Run the worker until SIGTERM or Ctrl-C."""
        context.exit(program.run(context.obj()))

    cli.add_command(_exec_command(program))

    @cli.command()
    @click.pass_obj
    def runners(load: Callable[[], Any]) -> None:
        """List the task types, and the plug-ins that could not be loaded."""
        names, problems = program.runners(load())
        for name in names:
            click.echo(name)
        for problem in problems:
            click.echo(problem, err=True)

    @cli.group()
    def config() -> None:
        """Show or check the settings."""

    @config.command()
    @click.option("--json", "as_json", is_flag=True, help="as JSON")
    @click.pass_obj
    def show(load: Callable[[], Shown], as_json: bool) -> None:
        """Every setting, its value, and where the value stands. Secrets are masked."""
        rows = load().rows()
        if as_json:
            document = {key: {"value": value, "source": source} for key, value, source in rows}
            click.echo(json.dumps(document, ensure_ascii=False, indent=2))
            return
        width = max(len(key) for key, _, _ in rows)
        for key, value, source in rows:
            click.echo(f"{key:<{width}}  {value:<40}  {source}")

    @config.command()
    @click.pass_obj
    def check(load: Callable[[], Shown]) -> None:
        """Say whether the settings are right; exit status 78 if not."""
        load()
        click.echo("the settings are right")

    cli.add_command(_completion_command(cli))
    return cli


def _exec_command(program: Program) -> click.Command:
    @click.command(
        "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        short_help="Run one task here and now, with its exit code.",
    )  # fmt: skip
    @click.option("--timeout", type=click.FloatRange(min=0.001), help="limit in seconds")
    @click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="add to the task's environment")
    @click.option("--dir", "directory", default="", metavar="DIR", help="work there")
    @click.option("--json", "as_json", is_flag=True, help="print the result as JSON instead of nothing")
    @click.argument("category")
    @click.argument("command")
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def execute(context: click.Context, /, category: str, command: str, args: tuple[str, ...], **options: Any) -> None:
        """Run one task: CATEGORY COMMAND [ARGS]. Output is live; Ctrl-C stops the task, a second one kills it.

        For runners that take a JSON object, COMMAND may be that object.
        """
        loaded = context.obj()
        if category not in ("command", "default", "") and command.lstrip().startswith("{") and not args:
            command, args = category, (command,)

        def log(data: bytes) -> None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

        result = program.execute(
            loaded,
            Task(
                category=category,
                command=command,
                args=" ".join(args),
                timeout=options["timeout"],
                environment=dict(_assignment(text) for text in options["variables"]),
                directory=options["directory"],
                running=_stop_on_signals,
                log=(lambda _: None) if options["as_json"] else log,
            ),
        )
        if options["as_json"]:
            click.echo(json.dumps(_document(result), ensure_ascii=False))
        elif result.error:
            click.echo(result.error.splitlines()[0], err=True)
        ok = result.status == "success"
        context.exit(0 if ok else result.exit_code if 0 < result.exit_code < 256 else 1)

    return execute


def _document(result: Result) -> dict[str, Any]:
    return {
        "status": result.status.value,
        "end_reason": result.end_reason.value,
        "exit_code": result.exit_code,
        "output": result.output,
        "error": result.error,
        "duration_ms": result.duration,
    }


def _stop_on_signals(runner: Runner) -> None:
    import signal

    seen: list[int] = []

    def handle(number: int, _: Any) -> None:
        seen.append(number)
        runner.stop() if len(seen) == 1 else runner.kill()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _completion_command(cli: click.Group) -> click.Command:
    @click.command("completion")
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        """Print the completion script for a shell: eval "$(cronjob-worker completion bash)"."""
        from click.shell_completion import get_completion_class

        maker = get_completion_class(shell)
        assert maker is not None
        click.echo(maker(cli, {}, "cronjob-worker", "_CRONJOB_WORKER_COMPLETE").source())

    return completion


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def main(program: Program, argv: list[str]) -> int:
    """Run the command line; returns the exit status. Configuration errors are told in one message, status 78."""
    cli = build(program)
    try:
        status = cli.main(argv, prog_name="cronjob-worker", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except ConfigError as error:
        click.echo(f"configuration error:\n{error}", err=True)
        return ConfigError.exit_code
    except WorkerError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    return status if isinstance(status, int) else 0
