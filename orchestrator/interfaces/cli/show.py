"""`orchestrator show`: one job, or the spec it was submitted with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.connecting import client_for, job_argument, url_option
from orchestrator.interfaces.cli.output import console, json_option, print_json, say

if TYPE_CHECKING:
    from orchestrator.interfaces.client import JobHandle
    from orchestrator.interfaces.wire import SpecView


@click.command()
@job_argument
@click.option("--spec", is_flag=True, help="Its spec instead, as written and as resolved.")
@url_option
@json_option
def show(job: str, spec: bool, url: str | None, as_json: bool) -> None:
    """Show a job: its state, why it waits, attempts, figures.

    JOB is an id, or a name, which stands for the newest job of that name.
    """
    with client_for(url) as client:
        handle = client.job(job)
        if spec:
            found = handle.spec()
            if as_json:
                print_json(found.model_dump(mode="json", exclude_none=True))
            else:
                _print_spec(found)
        elif as_json:
            print_json(
                {
                    "job": handle.job.model_dump(mode="json"),
                    "attempts": [a.model_dump(mode="json") for a in handle.attempts()],
                    "plan": handle.plan(),
                }
            )
        else:
            _print_job(handle)


def _print_job(handle: JobHandle) -> None:
    from orchestrator.interfaces.cli.jobview import job_views, next_command

    attempts, metrics = handle.attempts(), handle.spec().spec.spec.evaluation.shown_metrics
    out = console()
    for view in job_views(handle.job, attempts, handle.plan(), metrics, time.time()):
        out.print(view)
    if command := next_command(handle.job):
        say(f"\nNext: {command}")


def _print_spec(found: SpecView) -> None:
    """Two YAML documents, so that either can be cut out and used."""
    import yaml

    click.echo(found.written.rstrip())
    for override in found.sets:
        click.echo(f"# --set {override}")
    click.echo(f"---\n# As resolved: what {found.job} runs.")
    resolved = found.spec.model_dump(mode="json", exclude_none=True)
    click.echo(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True).rstrip())
