"""`orchestrator run`: the whole system in one process, followed until it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli import failures
from orchestrator.interfaces.cli.options import set_option, spec_argument, store_option, with_store
from orchestrator.interfaces.cli.output import json_option, print_json

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.endings import Request
    from orchestrator.records import Outcome
    from orchestrator.specs.loading import LoadedSpec


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

    request = endings.Request(spec, sets, store, new)
    try:
        loaded, outcome = _follow(request, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - `--json` promises one document whatever happens
        if as_json:
            print_json(endings.document_of_error(error))
        failures.explain(error)
        return failures.exit_code_of(error)
    if as_json:
        print_json(endings.document(outcome))
    code = endings.exit_code(outcome)
    if code == endings.FAILED:
        endings.tell_failure(outcome, request)
    elif code == endings.INTERRUPTED:
        endings.tell_interruption(outcome, request)
    elif not as_json:
        metrics = loaded.spec.spec.evaluation.metrics or ("accuracy", "macro_f1")
        endings.tell_success(outcome, metrics, store=store)
    return code


def _follow(request: Request, *, as_json: bool) -> tuple[LoadedSpec, Outcome]:
    from orchestrator import server
    from orchestrator.interfaces.cli.display import display_for
    from orchestrator.interfaces.cli.interrupts import stop_on_signals
    from orchestrator.settings import load_settings
    from orchestrator.specs.loading import load_spec

    loaded = load_spec(request.spec, sets=with_store(request.sets, request.store))
    settings = load_settings()
    stop = server.StopSignal()
    with display_for(as_json=as_json) as display, stop_on_signals(stop, display.stopping):
        outcome = server.run(
            loaded, settings=settings, listener=display, stop=stop, new=request.new
        )
    return loaded, outcome
