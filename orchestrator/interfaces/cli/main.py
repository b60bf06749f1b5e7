"""The `orchestrator` program: the group, and the one place where errors become exit codes.

Called by the console script. `--help` must stay instant, so the group knows each command by name
and one line of help, and imports its module only when it is called.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from orchestrator import __version__


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command lives, and the first line of its help (a test holds the two equal)."""

    module: str
    attribute: str
    help: str
    section: str = "Commands"  # of the group's help

    def load(self) -> click.Command:
        command = getattr(import_module(self.module), self.attribute)
        assert isinstance(command, click.Command), self
        return command


class LazyGroup(click.Group):
    """A group that lists its commands without importing them, in the order they are used."""

    def __init__(self, *args: Any, lazy: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._lazy.get(cmd_name)
        return entry.load() if entry else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self._lazy and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = get_close_matches(name, self._lazy, n=1)
            known = f"Try one of: {', '.join(self._lazy)}."
            remedy = f"Did you mean {close[0]}?" if close else known
            ctx.fail(f"No such command {name!r}. {remedy}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self._lazy))  # the columns of all sections are below each other
        for section in dict.fromkeys(entry.section for entry in self._lazy.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name.ljust(width), entry.help)
                        for name, entry in self._lazy.items()
                        if entry.section == section
                    ]
                )

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's, but a command's integer is the exit code and errors are told our way."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, prog_name, complete_var, standalone_mode=False, **extra)
        except Exception as error:
            if not standalone_mode:
                raise
            self._end_with(error, as_json="--json" in words)
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)

    @staticmethod
    def _end_with(error: Exception, *, as_json: bool) -> NoReturn:
        from orchestrator.interfaces.cli import failures

        if as_json:
            failures.print_document(error)
        failures.explain(error)
        sys.exit(failures.exit_code_of(error))


def _command(
    section: str, name: str, help_line: str, *, module: str | None = None
) -> tuple[str, LazyCommand]:
    place = f"orchestrator.interfaces.cli.{module or name}"
    return name, LazyCommand(place, name, help_line, section)


HERE = "On this machine"
JOBS = "Jobs of a server"
SERVER = "The server itself"

COMMANDS: dict[str, LazyCommand] = dict(
    (
        _command(HERE, "init", "Write a commented spec for a task and your data."),
        (
            "import",  # no name that a module or a function may have
            LazyCommand(
                "orchestrator.interfaces.cli.importing",
                "import_spec",
                "Write a spec from a configuration of axolotl or LLaMA-Factory.",
                HERE,
            ),
        ),
        _command(HERE, "validate", "Check a spec and list every problem in it."),
        _command(HERE, "plan", "Say what a job needs and whether it fits; start nothing."),
        _command(HERE, "data", "Look at the data as the model will see it."),
        _command(
            HERE,
            "rehearse",
            "Prove a job by a few steps over its longest rows; leave nothing.",
        ),
        _command(HERE, "run", "Train, evaluate and publish what a spec describes."),
        _command(HERE, "predict", "Label or rewrite texts with a published model."),
        _command(HERE, "models", "List, show, pull, verify and alias published models."),
        _command(HERE, "schema", "Print the JSON Schema of specs."),
        _command(HERE, "doctor", "Check what this machine can do, with remedies."),
        _command(JOBS, "login", "Keep a server's address and a token for this user."),
        _command(JOBS, "submit", "Queue the job of a spec on a server."),
        _command(JOBS, "jobs", "List jobs, the newest first, and why those wait that wait."),
        _command(JOBS, "show", "Show a job: its state, why it waits, attempts, figures."),
        _command(
            JOBS,
            "watch",
            "Follow a job until it has ended, as `run` follows its own.",
            module="watching",
        ),
        _command(JOBS, "logs", "Print what the ranks or the driver of a job have printed."),
        _command(JOBS, "events", "Print what has happened to a job, or to the team's jobs."),
        _command(JOBS, "stacks", "Show the stacks of all ranks of a job, taken now."),
        _command(JOBS, "top", "Show on one screen what runs, who waits and why, and what is used."),
        _command(
            JOBS,
            "compare",
            "Set two jobs side by side: spec, data, environment, curves, metrics.",
        ),
        *(
            _command(JOBS, name, help_line, module="changes")
            for name, help_line in (
                ("cancel", "End a job for good; what it saved stays."),
                (
                    "suspend",
                    "Take a job out of its queue; one that trains saves first.",
                ),
                ("resume", "Put a suspended job back into its queue."),
                ("retry", "Queue a failed or cancelled job again, from its newest checkpoint."),
                ("rerun", "Queue a new job with the spec of another one."),
                ("delete", "Delete an ended job with its checkpoints and logs."),
            )
        ),
        _command(SERVER, "serve", "Serve the API, and run the jobs of its queues."),
        _command(SERVER, "token", "Make, list and revoke the tokens of users.", module="tokens"),
        _command(SERVER, "queues", "List queues with their use; admins also set and delete them."),
        _command(SERVER, "nodes", "List machines and what jobs hold of them."),
        _command(
            SERVER, "audit", "Say who asked for what, the newest first; for leads and admins."
        ),
    )
)


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.version_option(__version__, message="orchestrator %(version)s")
def cli() -> None:
    """Fine-tune language models from a declarative spec.

    A first run: `orchestrator init`, then `plan`, `run` and `predict`. On a server: `login`, then
    `submit`, `jobs` and `show`.

    Exit codes: 0 done, 1 the job failed, 2 bad input or a plan that does not fit,
    130 interrupted. `--json` prints one JSON document on stdout.
    """


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a ✓ on an ASCII terminal is no reason to end
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="orchestrator")


if __name__ == "__main__":
    main()
