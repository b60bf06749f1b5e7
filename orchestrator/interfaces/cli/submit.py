"""`orchestrator submit`: a spec into a queue of the server, its local files with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.connecting import client_for, url_option
from orchestrator.interfaces.cli.lines import print_line, told_as_line
from orchestrator.interfaces.cli.options import set_option, spec_argument
from orchestrator.interfaces.cli.output import json_option, print_json, say, shown_path

if TYPE_CHECKING:
    from orchestrator.interfaces.client import JobHandle


@click.command()
@spec_argument
@set_option
@click.option("--new", is_flag=True, help="Train again what is trained or queued already.")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="The same key gives the same job, so that a script may submit again.",
)
@click.option("--wait", is_flag=True, help="Follow the job until it has ended.")
@url_option
@json_option
def submit(
    spec: Path,
    sets: tuple[str, ...],
    new: bool,
    idempotency_key: str | None,
    wait: bool,
    url: str | None,
    as_json: bool,
) -> int:
    """Queue the job of a spec on a server.

    Local data, code and a local base are uploaded first, what the server has already is not sent
    again. With --wait it exits with 1 if the job fails, and Ctrl-C ends the waiting, not the job;
    --json then prints one document a line.
    """
    with told_as_line(as_json and wait), client_for(url) as client:
        handle = client.submit(
            spec, sets, new=new, idempotency_key=idempotency_key, on_upload=_told_upload
        )
        if as_json:
            told = _document(handle)
            print_line({"type": "submitted", **told}) if wait else print_json(told)
        else:
            _tell(handle, has_more=wait)
        if not wait:
            return 0
        from orchestrator.interfaces.cli import watching

        return watching.follow(handle, as_json=as_json)


def _told_upload(path: str, num_bytes: int) -> None:
    say(f"sending {shown_path(path)} ({figures.size(num_bytes)})")


def _document(handle: JobHandle) -> dict[str, Any]:
    return {
        "job": handle.job.model_dump(mode="json"),
        "is_new": handle.is_new,
        "message": handle.message,
    }


def _tell(handle: JobHandle, *, has_more: bool) -> None:
    from orchestrator.interfaces.cli.jobtexts import one_line

    click.echo(one_line(handle.job))
    if handle.message:
        say(handle.message)
    if not has_more and not handle.state.is_terminal:
        say(f"Follow it: orchestrator watch {handle.id}")
