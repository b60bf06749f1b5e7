"""`orchestrator plan`: what a job needs, and whether it fits; nothing is started or written."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.interfaces.cli.options import set_option, spec_argument, store_option, with_store
from orchestrator.interfaces.cli.output import console, json_option, print_json

REFUSED = 2


@click.command()
@spec_argument
@set_option
@store_option
@click.option(
    "--hardware",
    metavar="EXPRESSION",
    multiple=True,
    help=(
        "Plan for GPUs that need not be here, e.g. 8xH100 or 2x8xA100-80GB (nodes x GPUs); "
        "several by commas, or the option again."
    ),
)
@json_option
def plan(
    spec: Path, sets: tuple[str, ...], store: str | None, hardware: tuple[str, ...], as_json: bool
) -> int:
    """Say what a job needs and whether it fits; start nothing.

    Reads the data and the head of the model. With --hardware every way to run the job there is
    told, with memory, time and cost; of the model a config is enough then. Exits with 2 when the
    plan is refused, or when the job fits no hardware that is named.
    """
    if hardware:
        return _elsewhere(spec, with_store(sets, store), hardware, as_json)
    from orchestrator import server
    from orchestrator.interfaces.cli.remote import settings_for

    found = server.plan(spec, with_store(sets, store), settings=settings_for())
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        from orchestrator.interfaces.cli.planview import plan_views

        out = console()
        for view in plan_views(found):
            out.print(view)
    return 0 if found.fits else REFUSED


def _elsewhere(spec: Path, sets: tuple[str, ...], hardware: tuple[str, ...], as_json: bool) -> int:
    from orchestrator import server
    from orchestrator.interfaces.cli.remote import settings_for

    found = server.plan_elsewhere(spec, sets, hardware=hardware, settings=settings_for())
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        from orchestrator.interfaces.cli.hardwareview import hardware_views

        out = console()
        for view in hardware_views(found, out.width):
            out.print(view)
    return 0 if found.fits else REFUSED
