"""`orchestrator compare`: two jobs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.connecting import client_for, url_option
from orchestrator.interfaces.cli.output import console, json_option, print_json

if TYPE_CHECKING:
    from orchestrator.interfaces.cli.comparing import Side
    from orchestrator.interfaces.client import Client, JobHandle


@click.command()
@click.argument("a", metavar="JOB")
@click.argument("b", metavar="JOB")
@url_option
@json_option
def compare(a: str, b: str, url: str | None, as_json: bool) -> None:
    """Set two jobs side by side: spec, data, environment, curves, metrics.

    JOB is an id, or a name, which stands for the newest job of that name.
    """
    from orchestrator.interfaces.cli.comparing import compared

    with client_for(url) as client:
        first, second = (_side(client, client.job(name)) for name in (a, b))
    found = compared(first, second)
    if as_json:
        jobs = {name: side.job.model_dump(mode="json") for name, side in _named(first, second)}
        print_json({**jobs, **found.document()})
        return
    from orchestrator.interfaces.cli.compareview import comparison_views

    out = console()
    for view in comparison_views(first, second, found):
        out.print(view)


def _named(first: Side, second: Side) -> tuple[tuple[str, Side], tuple[str, Side]]:
    return ("a", first), ("b", second)


def _side(client: Client, handle: JobHandle) -> Side:
    from orchestrator.interfaces.cli.comparing import Side

    attempts = handle.attempts()
    outcomes = [attempt.outcome for attempt in attempts if attempt.outcome is not None]
    measured = [outcome for outcome in outcomes if outcome.metrics]
    points = [point for a in attempts for point in handle.history(a.number).points]
    return Side(
        handle.job,
        handle.spec(),
        outcome=next(reversed(measured or outcomes), None),
        points=tuple(points),
        packages=_packages(client, handle),
    )


def _packages(client: Client, handle: JobHandle) -> dict[str, str]:
    """Of its workers, by what it published; empty where that is not to be had."""
    from orchestrator.errors import NotFound

    if handle.job.model is None:
        return {}
    name, _, version = handle.job.model.partition("@")
    try:
        lineage = client.model(name, version).lineage
    except NotFound:  # another team's, or deleted since
        return {}
    packages: dict[str, str] = lineage.get("packages") or {}
    return packages
