"""`orchestrator serve`: API and controller in one process, until somebody stops it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.failures import INTERRUPTED
from orchestrator.interfaces.cli.output import json_line, json_option, say

if TYPE_CHECKING:
    from orchestrator.server import Ready

FIRST_TOKEN = "orchestrator token create --offline --name NAME --team TEAM --role admin"


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to bind; absent: the setting api_host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to bind, 0 for any that is free; absent: the setting api_port.",
)
@click.option(
    "--end-local",
    is_flag=True,
    help="Serve nothing: end the Ray that servers have left on this machine, and its jobs.",
)
@json_option
def serve(host: str | None, port: int | None, end_local: bool, as_json: bool) -> int:
    """Serve the API, and run the jobs of its queues.

    Stays in the foreground until SIGTERM (exit code 0) or Ctrl-C (130); what runs on the backends
    goes on, and the next server adopts it. With --json one line tells when it is ready.
    """
    from orchestrator import server
    from orchestrator.interfaces.cli.remote import settings_for

    settings = settings_for()
    if end_local:
        _tell_ended(server.end_local(settings), as_json=as_json)
        return 0
    stopping = Stopping()
    with stopping.on_signals():
        server.serve(
            settings,
            host,
            port,
            stop=stopping.asked,
            ready=_tell_document if as_json else _tell,
        )
    if not as_json:
        say("Stopped; what runs on the backends goes on.")
    return stopping.exit_code


class Stopping:
    """What the signals of this process ask for."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.exit_code = 0

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within the block a signal ends the server; a second one as if it had no handler."""
        before = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.exit_code = INTERRUPTED
            signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not here: setting takes a lock that the interrupted thread may hold.
        threading.Thread(target=self.asked.set).start()


def _tell(ready: Ready) -> None:
    """Where it listens, on stdout; what an operator should know besides."""
    click.echo(f"Serving at {ready.url}")
    backends = ", ".join(_backend(name, kind) for name, kind in ready.backends.items())
    click.echo(f"  database  {ready.database}")
    click.echo(f"  backends  {backends}")
    click.echo(f"  tokens    {_tokens(ready)}")
    if ready.asks_who and not ready.has_token and ready.issuer is None:
        click.echo(f"There is no token yet. Make the first one on this host:\n  {FIRST_TOKEN}")


def _tell_ended(names: list[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json_line({"ended": names}))
    else:
        click.echo(f"Ended: {', '.join(names)}" if names else "There was nothing to end.")


def _backend(name: str, kind: str) -> str:
    return name if name == kind else f"{name} ({kind})"


def _tokens(ready: Ready) -> str:
    if not ready.asks_who:
        return "off: whoever reaches it is an admin"
    return "asked for" + (f"; those of {ready.issuer} are taken too" if ready.issuer else "")


def _tell_document(ready: Ready) -> None:
    click.echo(json_line({"ready": asdict(ready)}))
