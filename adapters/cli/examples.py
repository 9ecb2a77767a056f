"""The examples that stand at the end of each command's help."""

from __future__ import annotations

EXAMPLES = {
    "": (
        "                                      run the worker",
        """ exec command echo '["Hello"]'         one task, here and now""",
        " config show                          every value and where it stands",
        " --set worker.concurrency=4 run",
        " pause --reason 'new disk'            take no new tasks until `resume`",
    ),
    "run": (" run --name rack-4", " --config /etc/cronjob-worker.json run --log-level DEBUG"),
    "exec": (
        """ exec command echo '["Hello"]'""",
        " exec --timeout 5 command 'sleep 60'",
        """ exec http '{"url": "https://example.com/health"}'""",
        """ exec --json script '{"language": "python", "type": "inline", "code": "print(6*7)"}'""",
    ),
    "runners": (" runners",),
    "pause": (" pause --reason 'new disk'",),
    "resume": (" resume",),
    "config show": (" config show", " --config other.json config show --json"),
    "config check": (" config check && systemctl restart cronjob-worker",),
    "completion": (),
}


def examples(name: str, command: str) -> str | None:
    """The end of a command's help; None where its text holds the example already."""
    lines = [f"  {name}{line}" for line in EXAMPLES[command]]
    return "\n".join(["\b", "Examples:", *lines]) if lines else None
