"""`orchestrator run`: the whole system in one process, followed until it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.options import set_option, spec_argument, store_option, with_store
from orchestrator.interfaces.cli.output import json_option, print_json

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.display import RunDisplay
    from orchestrator.interfaces.cli.endings import Request
    from orchestrator.records import Outcome


@click.command()
@spec_argument
@set_option
@click.option("--new", is_flag=True, help="Train again, even if the same run is finished or begun.")
@store_option
@json_option
def run(spec: Path, sets: tuple[str, ...], new: bool, store: str | None, as_json: bool) -> int:
    """Train, evaluate and publish what a spec describes.

    The same command after a crash or Ctrl-C resumes from the newest complete checkpoint. Ctrl-C
    saves a checkpoint and stops; a second one stops at once.
    """
    from orchestrator.interfaces.cli import endings
    from orchestrator.interfaces.cli.display import display_for

    request = endings.Request(spec, sets, store, new)
    display = display_for(as_json=as_json)
    try:
        outcome = _follow(request, display)
    except Exception as error:  # noqa: BLE001 - `--json` promises one document whatever happens
        if as_json:
            print_json(endings.document_of_error(error, display.plan))
        return endings.tell_error(error, display.plan)
    if as_json:
        print_json(endings.document(outcome))
    return endings.tell(outcome, request, display.plan, as_json=as_json)


def _follow(request: Request, display: RunDisplay) -> Outcome:
    with display:  # before the imports below, which take a second in which nothing would be seen
        from orchestrator import server
        from orchestrator.interfaces.cli.interrupts import stop_on_signals
        from orchestrator.interfaces.cli.remote import settings_for
        from orchestrator.records import JobState

        settings = settings_for()
        stop = server.StopSignal()
        with stop_on_signals(stop, display.stopping):
            outcome = server.run(
                request.spec,
                with_store(request.sets, request.store),
                settings=settings,
                listener=display,
                stop=stop,
                new=request.new,
            )
            if outcome.state is JobState.FAILED:
                display.failed()
            return outcome
