"""`orchestrator jobs`: what is queued, what runs, how it ended."""

from __future__ import annotations

import time

import click

from orchestrator.errors import UserError
from orchestrator.interfaces.cli.connecting import client_for, limit_option, url_option
from orchestrator.interfaces.cli.output import console, json_option, print_json, say

STATES = (
    *("QUEUED", "STARTING", "RUNNING", "STOPPING", "SUSPENDED"),
    *("SUCCEEDED", "FAILED", "CANCELLED"),
)


@click.command()
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES, case_sensitive=False),
    multiple=True,
    help="In this state; may be repeated.",
)
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    help="With this label; may be repeated, all must hold.",
)
@click.option("--queue", metavar="QUEUE", help="In this queue.")
@click.option("--name", metavar="NAME", help="Of this name.")
@click.option("--by", metavar="USER", help="Submitted by this user.")
@click.option("--team", metavar="TEAM", help="Of this team; of others: admins only.")
@limit_option
@url_option
@json_option
def jobs(
    states: tuple[str, ...],
    labels: tuple[str, ...],
    queue: str | None,
    name: str | None,
    by: str | None,
    team: str | None,
    limit: int,
    url: str | None,
    as_json: bool,
) -> None:
    """List jobs, the newest first, and why those wait that wait."""
    from orchestrator.records import JobState

    exact = {"queue": queue, "name": name, "created_by": by, "team": team}
    wanted = dict(_label(text) for text in labels)
    with client_for(url) as client:
        found = client.jobs(
            states=[JobState(state) for state in states], labels=wanted, limit=limit + 1, **exact
        )
    shown, has_more = found[:limit], len(found) > limit
    if as_json:
        print_json({"jobs": [job.model_dump(mode="json") for job in shown], "more": has_more})
        return
    if not shown:
        is_filtered = bool(states or labels) or any(exact.values())
        nothing = "There is no job yet; `orchestrator submit SPEC` queues one."
        click.echo("No job is like that." if is_filtered else nothing)
        return
    from orchestrator.interfaces.cli.joblist import listed

    out = console()
    for line in listed(shown, time.time(), out.width):
        out.print(line)
    if has_more:
        say(f"There are more: --limit {10 * limit}")


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UserError(f"--label {text}: it is no label", hint="write KEY=VALUE")
    return key, value
