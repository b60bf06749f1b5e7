"""`orchestrator queues`: where jobs wait, what they may hold, and how much of it is held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.errors import UserError
from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.connecting import client_for, url_option
from orchestrator.interfaces.cli.output import console, json_option, print_json

if TYPE_CHECKING:
    from orchestrator.interfaces.client import Client, QueueRequest
    from orchestrator.interfaces.wire import QueueView

MEMORY = "memory_bytes"


@click.group(invoke_without_command=True)
@url_option
@json_option
@click.pass_context
def queues(ctx: click.Context, url: str | None, as_json: bool) -> None:
    """List queues with their use; admins also set and delete them.

    Without a command it lists them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_queues, url=url, as_json=as_json)
    elif url is not None or as_json:
        option = "--url" if url is not None else "--json"
        command = f"orchestrator queues {ctx.invoked_subcommand}"
        raise click.UsageError(f"write {option} behind the command: {command} … {option}")


@queues.command("list")
@url_option
@json_option
def list_queues(url: str | None, as_json: bool) -> None:
    """List the queues one may submit to: jobs in them, use and quota."""
    with client_for(url) as client:
        found = client.queues()
    if as_json:
        print_json({"queues": [queue.model_dump(mode="json") for queue in found]})
        return
    if not found:
        click.echo("There is no queue that you may submit to.")
        return
    from orchestrator.interfaces.cli.tables import plain_table

    table = plain_table("queue", ">running", ">waiting", "in use", "open to")
    for queue in found:
        table.add_row(
            _name(queue),
            str(queue.running),
            str(queue.waiting),
            "\n".join(use_of(queue)) or figures.NOTHING,
            "\n".join(_teams(queue)),
        )
    console().print(table)


@queues.command("set")
@click.argument("name")
@click.option(
    "--quota",
    "quotas",
    metavar="RESOURCE=AMOUNT",
    multiple=True,
    help="What its jobs may hold at once of cpu, gpu, gpu/KIND or memory_bytes; RESOURCE= lifts "
    "the limit. May be repeated.",
)
@click.option(
    "--weight",
    "weights",
    metavar="TEAM=SHARE",
    multiple=True,
    help="Share of a team, 1 where nothing is said; TEAM= is 1 again. May be repeated.",
)
@click.option(
    "--team", "teams", metavar="TEAM", multiple=True, help="Open to this team; may be repeated."
)
@click.option("--all-teams", is_flag=True, help="Open to every team.")
@click.option(
    "--pause/--unpause", "paused", default=None, help="Admit nothing; what runs goes on. Or again."
)
@click.option(
    "--preempt/--no-preempt",
    "preempt",
    default=None,
    help="Whether its jobs may be stopped for more important ones.",
)
@url_option
@json_option
def set_queue(
    name: str,
    quotas: tuple[str, ...],
    weights: tuple[str, ...],
    teams: tuple[str, ...],
    all_teams: bool,
    paused: bool | None,
    preempt: bool | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Create a queue, or change what is said of one; the rest stays as it is."""
    if teams and all_teams:
        raise click.UsageError("--team and --all-teams exclude each other")
    with client_for(url) as client:
        known = next((queue for queue in client.queues() if queue.name == name), None)
        request = _request(
            known,
            quota=_amounts("--quota", quotas),
            weights=_amounts("--weight", weights),
            teams=() if all_teams else teams or None,
            flags={"is_paused": paused, "allows_preemption": preempt},
        )
        client.put_queue(name, request)
        changed = _found(client, name)
    if as_json:
        print_json(changed.model_dump(mode="json"))
    else:
        click.echo(f"{name} is {'changed' if known else 'created'}: {described(changed)}")


@queues.command("delete")
@click.argument("name")
@url_option
@json_option
def delete_queue(name: str, url: str | None, as_json: bool) -> None:
    """Delete a queue in which no job is."""
    with client_for(url) as client:
        client.delete_queue(name)
    if as_json:
        print_json({"queue": name, "deleted": True})
    else:
        click.echo(f"{name} is deleted")


def use_of(queue: QueueView) -> Iterator[str]:
    """`gpu 2 of 4` for what is limited, `cpu 3` for what else its jobs hold."""
    for resource in dict.fromkeys((*queue.quota, *queue.used)):
        held = _amount(resource, queue.used.get(resource, 0.0))
        if resource in queue.quota:
            yield f"{resource} {held} of {_amount(resource, queue.quota[resource])}"
        elif queue.used[resource]:
            yield f"{resource} {held}"


def described(queue: QueueView) -> str:
    """How it is set up, in one line."""
    quota = ", ".join(f"{name} {_amount(name, most)}" for name, most in queue.quota.items())
    parts = [f"quota {quota}" if quota else "no quota", f"open to {', '.join(_teams(queue))}"]
    if queue.is_paused:
        parts.append("paused")
    if not queue.allows_preemption:
        parts.append("no preemption")
    return "; ".join(parts)


def _name(queue: QueueView) -> str:
    marks = ["paused"] if queue.is_paused else []
    if not queue.allows_preemption:
        marks.append("no preemption")
    return "\n".join([queue.name, *(f"  {mark}" for mark in marks)])


def _teams(queue: QueueView) -> list[str]:
    """Those it is open to, with their shares where they are not 1."""
    teams = queue.teams or ("all",)
    weighted = [team for team in queue.weights if team not in queue.teams]
    return [_with_share(queue, team) for team in (*teams, *weighted)]


def _with_share(queue: QueueView, team: str) -> str:
    share = queue.weights.get(team, 1.0)
    return team if share == 1 else f"{team} (share {share:g})"


def _amount(resource: str, amount: float) -> str:
    return figures.size(amount) if resource == MEMORY else f"{amount:g}"


def _amounts(option: str, given: Sequence[str]) -> dict[str, float | None]:
    """`KEY=NUMBER` by key; None for `KEY=`."""
    found: dict[str, float | None] = {}
    for text in given:
        key, equals, number = text.partition("=")
        try:
            if not key or not equals:
                raise ValueError
            found[key] = float(number) if number else None
        except ValueError:
            hint = "write NAME=NUMBER, or NAME= for none"
            raise UserError(f"{option} {text}: it is no name and number", hint=hint) from None
    return found


def _request(
    known: QueueView | None,
    *,
    quota: Mapping[str, float | None],
    weights: Mapping[str, float | None],
    teams: tuple[str, ...] | None,
    flags: Mapping[str, bool | None],
) -> QueueRequest:
    from orchestrator.interfaces.client import QueueRequest

    fields = QueueRequest() if known is None else known
    values = {name: getattr(fields, name) for name in QueueRequest.model_fields}
    values["quota"] = _changed(values["quota"], quota)
    values["weights"] = _changed(values["weights"], weights)
    if teams is not None:
        values["teams"] = teams
    values |= {name: value for name, value in flags.items() if value is not None}
    return QueueRequest.of(**values)


def _changed(before: Mapping[str, float], changes: Mapping[str, float | None]) -> dict[str, float]:
    merged = {**before, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _found(client: Client, name: str) -> QueueView:
    """With its jobs and its use, which the answer to a change leaves out."""
    return next(queue for queue in client.queues() if queue.name == name)
