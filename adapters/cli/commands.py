"""The commands of the worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import click

from adapters.cli import execute
from adapters.cli.examples import examples
from adapters.cli.execute import OneTask, assignment
from domain.errors import ConfigError, WorkerError
from domain.result import Result

COMPLETE = "_CRONJOB_WORKER_COMPLETE"  # by this variable a shell asks for completions


class Shown(Protocol):
    """Loaded settings as the commands show them."""

    def rows(self) -> list[tuple[str, str, str]]: ...


Settings = TypeVar("Settings", bound=Shown)


class Program(Protocol[Settings]):
    """What the composition root gives the commands. All of it may raise ConfigError and other errors of ours."""

    name: str
    version: str

    def load(self, file: str | None, assignments: Mapping[str, str]) -> Settings: ...
    def run(self, loaded: Settings) -> int:
        """Run the worker; returns the exit status."""

    def runners(self, loaded: Settings) -> tuple[list[str], list[str]]:
        """The categories, and a text for each runner that could not be loaded."""

    def check(self, load: Callable[[], Settings]) -> list[str]:
        """A text for each thing that is wrong, with what ``load`` loads and with that itself."""

    def execute(self, loaded: Settings, task: OneTask) -> Result: ...
    def pause(self, loaded: Settings, reason: str) -> None: ...
    def resume(self, loaded: Settings) -> bool:
        """Whether it was paused."""


def build(program: Program[Settings]) -> click.Group:
    """The whole command line over one program."""

    @click.group(
        invoke_without_command=True,
        epilog=examples(program.name, ""),
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    @click.option("--config", metavar="FILE", help="settings file (else WORKER_CONFIG, else config_worker.json)")
    @click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="one setting; may be repeated")
    @click.version_option(program.version, prog_name="cronjob-worker")
    @click.pass_context
    def cli(context: click.Context, config: str | None, assignments: tuple[str, ...]) -> None:
        """Worker node of a distributed scheduled-task system. Without a command it runs the worker."""
        given = dict(assignment(text) for text in assignments)
        context.obj = lambda more={}: program.load(config, given | more)
        if context.invoked_subcommand is None:
            context.exit(program.run(context.obj()))

    cli.add_command(execute.command(program.execute, examples(program.name, "exec")))
    others = (_config_group(program), _completion_command(cli))
    for command in (_run_command(program), _runners_command(program), *_pausing_commands(program), *others):
        cli.add_command(command)
    return cli


def _run_command(program: Program[Settings]) -> click.Command:
    @click.command(epilog=examples(program.name, "run"))
    @click.option("--name", metavar="NAME", help="short for --set worker.name=NAME")
    @click.option("--log-level", metavar="LEVEL", help="short for --set log.level=LEVEL")
    @click.pass_context
    def run(context: click.Context, /, name: str | None, log_level: str | None) -> None:
        """Run the worker until SIGTERM or Ctrl-C."""
        named = {"worker.name": name, "log.level": log_level}
        context.exit(program.run(context.obj({key: text for key, text in named.items() if text is not None})))

    return run


def _runners_command(program: Program[Settings]) -> click.Command:
    @click.command(epilog=examples(program.name, "runners"))
    @click.pass_obj
    def runners(load: Callable[[], Settings]) -> None:
        """List the task types, and the plug-ins that could not be loaded."""
        names, problems = program.runners(load())
        for name in names:
            click.echo(name)
        for problem in problems:
            click.echo(problem, err=True)

    return runners


def _pausing_commands(program: Program[Settings]) -> tuple[click.Command, click.Command]:
    @click.command(epilog=examples(program.name, "pause"))
    @click.option("--reason", default="paused by an operator", metavar="TEXT", help="what its log is to say")
    @click.pass_obj
    def pause(load: Callable[[], Settings], reason: str) -> None:
        """Let the worker take no new tasks; those in hand go on. Holds until `resume`, also over restarts."""
        program.pause(load(), reason)
        click.echo("paused: no new tasks are taken until `resume`")

    @click.command(epilog=examples(program.name, "resume"))
    @click.pass_obj
    def resume(load: Callable[[], Settings]) -> None:
        """Let a paused worker take tasks again."""
        click.echo("new tasks are taken again" if program.resume(load()) else "it was not paused")

    return pause, resume


def _config_group(program: Program[Settings]) -> click.Group:
    @click.group()
    def config() -> None:
        """Show or check the settings."""

    @config.command(epilog=examples(program.name, "config show"))
    @click.option("--json", "as_json", is_flag=True, help="as JSON")
    @click.pass_obj
    def show(load: Callable[[], Settings], as_json: bool) -> None:
        """Every setting, its value, and where the value stands. Secrets are masked."""
        rows = load().rows()
        if as_json:
            document = {key: {"value": value, "source": source} for key, value, source in rows}
            click.echo(json.dumps(document, ensure_ascii=False, indent=2))
            return
        width = max(len(key) for key, _, _ in rows)
        for key, value, source in rows:
            click.echo(f"{key:<{width}}  {value:<40}  {source}")

    @config.command(epilog=examples(program.name, "config check"))
    @click.pass_obj
    def check(load: Callable[[], Settings]) -> None:
        """Say whether the settings are right, and the schedule if it is used; exit status 78 if not."""
        problems = program.check(load)
        if problems:
            raise ConfigError("\n".join(problems))
        click.echo("the settings are right")

    return config


def _completion_command(cli: click.Group) -> click.Command:
    @click.command("completion")
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        """Print the completion script for a shell: eval "$(cronjob-worker completion bash)"."""
        from click.shell_completion import get_completion_class

        maker = get_completion_class(shell)
        assert maker is not None
        click.echo(maker(cli, {}, "cronjob-worker", COMPLETE).source())

    return completion


def main(program: Program[Settings], argv: list[str]) -> int:
    """Run the command line; returns the exit status. Configuration errors are told in one message, status 78."""
    cli = build(program)
    try:
        status = cli.main(argv, prog_name=program.name, complete_var=COMPLETE, standalone_mode=False)
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
