"""`orchestrator cancel`, `suspend`, `resume`, `retry`, `rerun`, `delete`: what is done to a job."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.connecting import client_for, job_argument, url_option
from orchestrator.interfaces.cli.failures import INTERRUPTED
from orchestrator.interfaces.cli.output import json_option, print_json, say, style

if TYPE_CHECKING:
    from orchestrator.interfaces.client import JobHandle, JobView


@click.command()
@job_argument
@url_option
@json_option
def cancel(job: str, url: str | None, as_json: bool) -> None:
    """End a job for good; what it saved stays.

    JOB is an id, or a name, which stands for the newest job of that name.
    """
    _change(job, url, lambda handle: handle.cancel(), as_json=as_json)


@click.command()
@job_argument
@url_option
@json_option
def suspend(job: str, url: str | None, as_json: bool) -> None:
    """Take a job out of its queue; one that trains saves first.

    JOB is an id, or a name, which stands for the newest job of that name. `resume` puts it back.
    """
    _change(job, url, lambda handle: handle.suspend(), as_json=as_json)


@click.command()
@job_argument
@click.option(
    "--set",
    "sets",
    metavar="PATH=VALUE",
    multiple=True,
    help="Change a field of `engine` or `resources`, e.g. --set resources.workers=4.",
)
@url_option
@json_option
def resume(job: str, sets: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Put a suspended job back into its queue.

    JOB is an id, or a name, which stands for the newest job of that name. It goes on from its
    newest checkpoint.
    """
    _change(job, url, lambda handle: handle.resume(sets), as_json=as_json)


@click.command()
@job_argument
@url_option
@json_option
def retry(job: str, url: str | None, as_json: bool) -> None:
    """Queue a failed or cancelled job again, from its newest checkpoint.

    JOB is an id, or a name, which stands for the newest job of that name.
    """
    _change(job, url, lambda handle: handle.retry(), as_json=as_json)


@click.command()
@job_argument
@click.option(
    "--idempotency-key", metavar="KEY", help="The same key gives the same job; absent: a new job."
)
@url_option
@json_option
def rerun(job: str, idempotency_key: str | None, url: str | None, as_json: bool) -> None:
    """Queue a new job with the spec of another one.

    JOB is an id, or a name, which stands for the newest job of that name. It stays as it is.
    """
    with client_for(url) as client:
        made = client.job(job).rerun(idempotency_key)
    if as_json:
        print_json({"job": made.job.model_dump(mode="json"), "message": made.message})
        return
    _tell(made.job)
    if made.message:
        say(made.message)


@click.command()
@job_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@url_option
@json_option
def delete(job: str, yes: bool, url: str | None, as_json: bool) -> int:
    """Delete an ended job with its checkpoints and logs.

    JOB is an id, or a name, which stands for the newest job of that name. What it published stays.
    Exits with 1 where something of it could not be deleted.
    """
    with client_for(url) as client:
        handle = client.job(job)
        if not yes and not _confirmed(handle.job):
            say("Nothing was deleted.")
            return INTERRUPTED
        left = handle.delete()
    if as_json:
        print_json({"id": handle.id, "message": left})
    else:
        click.echo(f"{handle.id} ({handle.job.name}) is deleted")
        if left:
            say(f"{style('warning:', fg='yellow')} {left}")
    return int(bool(left))


def _confirmed(job: JobView) -> bool:
    if not _is_answered():
        raise click.UsageError("stdin is no terminal to ask on: give --yes")
    question = f"Delete {job.id} ({job.name}, {job.state}) with its checkpoints and logs?"
    return click.confirm(question, err=True)


def _is_answered() -> bool:
    return sys.stdin.isatty()


def _change(
    job: str, url: str | None, change: Callable[[JobHandle], JobView], *, as_json: bool
) -> None:
    with client_for(url) as client:
        changed = change(client.job(job))
    if as_json:
        print_json({"job": changed.model_dump(mode="json")})
    else:
        _tell(changed)


def _tell(job: JobView) -> None:
    from orchestrator.interfaces.cli.jobtexts import one_line, why

    click.echo(one_line(job))
    if told := why(job):
        say(told)
