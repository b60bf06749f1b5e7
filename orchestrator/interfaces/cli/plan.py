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
@json_option
def plan(spec: Path, sets: tuple[str, ...], store: str | None, as_json: bool) -> int:
    """Say what a job needs and whether it fits; start nothing.

    Reads the data and the head of the model. Exits with 2 when the plan is refused.
    """
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
