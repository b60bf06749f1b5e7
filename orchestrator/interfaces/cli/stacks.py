"""`orchestrator stacks`: where each rank of a job is in its code, at this moment."""

from __future__ import annotations

import click

from orchestrator.interfaces.cli.connecting import client_for, job_argument, url_option
from orchestrator.interfaces.cli.output import json_option, print_json, say, style
from orchestrator.interfaces.wire import Stacks

ANSWERED, SILENT = 0, 1
SECONDS = 20.0


@click.command()
@job_argument
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for ranks that do not answer.",
)
@url_option
@json_option
def stacks(job: str, timeout: float, url: str | None, as_json: bool) -> int:
    """Show the stacks of all ranks of a job, taken now.

    JOB is an id, or a name, which stands for the newest job of that name. Ranks answer even while
    their step hangs. Exits with 1 if one did not answer.
    """
    with client_for(url) as client:
        handle = client.job(job)
        if not as_json:
            say(f"asking the ranks of {handle.id}")
        found = handle.stacks(timeout)
    silent = [rank for rank in range(found.workers) if rank not in found.ranks]
    if as_json:
        print_json({"job": handle.id, **found.model_dump(mode="json"), "silent": silent})
        return SILENT if silent else ANSWERED
    for number, (rank, text) in enumerate(sorted(found.ranks.items())):
        click.echo(style(f"rank {rank} of attempt {found.attempt}", bold=True))
        click.echo(text.rstrip() + ("\n" if number < len(found.ranks) - 1 else ""))
    if silent:
        say(_about_silent(found, silent, timeout))
    return SILENT if silent else ANSWERED


def _about_silent(found: Stacks, silent: list[int], timeout: float) -> str:
    ranks = ", ".join(map(str, silent))
    who = "no rank" if not found.ranks else f"rank{'s' * (len(silent) > 1)} {ranks}"
    did = "answered" if not found.ranks else "did not answer"
    return (
        f"{who} {did} within {timeout:g} s: not up yet, ended, or cut off from the server; "
        "`orchestrator events` of the job tells more"
    )
