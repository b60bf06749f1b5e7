"""`orchestrator events`: what has happened to a job or to a team's jobs, and what happens now."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.connecting import client_for, url_option
from orchestrator.interfaces.cli.jobtexts import COLOURS
from orchestrator.interfaces.cli.lines import Away, lines_option, print_line, told_as_line
from orchestrator.interfaces.cli.output import say, style
from orchestrator.interfaces.client.watching import json_of
from orchestrator.records import Event, JobState, Reason

if TYPE_CHECKING:
    from orchestrator.interfaces.client import Client, Update

TEAM_EVENTS = 30
_ID_WIDTH = 30  # job-<ulid>
_KIND_WIDTH = 16
_STATE_WIDTH = max(map(len, JobState))
_REASON_WIDTH = max(map(len, Reason))


@click.command()
@click.argument("job", metavar="[JOB]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on; of a job until it has ended.")
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Only the newest N; absent: all of a job's, {TEAM_EVENTS} of a team's.",
)
@url_option
@lines_option
def events(job: str | None, follow: bool, tail: int | None, url: str | None, as_json: bool) -> int:
    """Print what has happened to a job, or to the team's jobs.

    JOB is an id, or a name, which stands for the newest job of that name. With -f nothing is
    missed, also when the server is restarted.
    """
    with told_as_line(as_json), client_for(url) as client:
        if job is None:
            last = TEAM_EVENTS if tail is None else tail
            _print(_of_team(client, last, follow=follow), with_job=True, as_json=as_json)
        else:
            _print(_of_job(client, job, tail, follow=follow), with_job=False, as_json=as_json)
    return 0


def _of_team(client: Client, last: int, *, follow: bool) -> Iterable[Update]:
    return client.follow(last=last, listener=Away()) if follow else client.events(last=last)


def _of_job(client: Client, job: str, last: int | None, *, follow: bool) -> Iterable[Update]:
    handle = client.job(job)
    return handle.watch(last=last, listener=Away()) if follow else handle.events(last=last)


def _print(updates: Iterable[Update], *, with_job: bool, as_json: bool) -> None:
    found = False
    for update in updates:
        if isinstance(update, Event):
            found = True
            if as_json:
                print_line(json_of(update))
            else:
                click.echo(line(update, with_job=with_job))
                sys.stdout.flush()
    if not found and not as_json:
        say("nothing has happened yet" if with_job else "no events")


def line(event: Event, *, with_job: bool) -> str:
    """Time, job, kind, state, reason, message: the columns stand below each other."""
    time = datetime.fromtimestamp(event.time).strftime("%m-%d %H:%M:%S")
    state = style(f"{event.state:{_STATE_WIDTH}}", fg=COLOURS[event.state])
    parts = [style(time, dim=True), f"{event.kind:{_KIND_WIDTH}}", state]
    if with_job:
        parts.insert(1, f"{event.job:{_ID_WIDTH}}")
    parts += [f"{event.reason:{_REASON_WIDTH}}", " ".join(event.message.split())]
    return "  ".join(parts).rstrip()
