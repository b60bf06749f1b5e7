"""The server that a command asks: which one, as whom, and about which job.

Called by every command that speaks to a server. They load the client alone: what a server or a
worker is made of stays out of them (tests/project/test_imports.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from orchestrator.interfaces.client import Client

url_option: Callable[[Any], Any] = click.option(
    "--url",
    metavar="URL",
    help="Server to ask; absent: $ORCHESTRATOR_URL, else the one of `orchestrator login`, else "
    "this machine's.",
)
job_argument: Callable[[Any], Any] = click.argument("job", metavar="JOB")
"""An id, or a name, which stands for the newest job of that name."""

limit_option: Callable[[Any], Any] = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="The newest ones, at most so many.",
)


def client_for(url: str | None) -> Client:
    """A client of the server, to be used as a context manager.

    Its token is never an argument, which `ps` and a shell's history would show: it is
    $ORCHESTRATOR_TOKEN, or was kept by `orchestrator login`.
    """
    from orchestrator.interfaces.client import Client

    return Client(url)
