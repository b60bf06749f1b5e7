"""What the commands that follow have in common: JSON Lines, and a server that is away meanwhile.

Called by `logs`, `events`, `top` and `watching`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.cli.output import json_line, say
from orchestrator.interfaces.client import Listener

lines_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON Lines on stdout and nothing else."
)


def print_line(document: object) -> None:
    """One line, at once: who reads it follows too."""
    click.echo(json_line(document))


@contextmanager
def told_as_line(as_json: bool) -> Iterator[None]:
    """With JSON Lines an error is a line as well; it ends the command."""
    try:
        yield
    except OrchestratorError as error:
        if not as_json:
            raise
        from orchestrator.interfaces.cli import failures

        print_line({"type": "error", "error": failures.error_document(error)})
        failures.explain(error)
        sys.exit(failures.exit_code_of(error))


class Away(Listener):
    """Says when the server is away, and when it is back."""

    def __init__(self, tell: Callable[[str], None] = say) -> None:
        self._tell = tell

    def away(self, error: OrchestratorError) -> None:
        self._tell("the server does not answer; asking again")

    def back(self) -> None:
        self._tell("the server is back")
