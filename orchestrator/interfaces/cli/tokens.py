"""`orchestrator token`: who may ask the server. A secret is shown once, when it is made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.connecting import client_for, url_option
from orchestrator.interfaces.cli.figures import short_age
from orchestrator.interfaces.cli.output import console, json_option, print_json, say

if TYPE_CHECKING:
    from orchestrator.interfaces.wire import NewToken
    from orchestrator.records import AccessToken

ROLES = ("viewer", "submitter", "lead", "admin")
DAY_SECONDS = 86_400.0


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of users.

    Takes an admin's token; the first one is made with --offline on the server's host.
    """


@token.command()
@click.option("--name", required=True, metavar="NAME", help="Who will hold it.")
@click.option("--team", required=True, metavar="TEAM", help="Whose jobs it is about.")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="submitter",
    show_default=True,
    help="viewer sees the team's jobs; submitter submits and changes own ones; lead changes the "
    "team's; admin: every team, queues and tokens.",
)
@click.option(
    "--expires-in-days",
    type=click.FloatRange(min=0, min_open=True, max=100_000),
    metavar="DAYS",
    help="How long it is good; absent: until it is revoked.",
)
@click.option(
    "--offline",
    is_flag=True,
    help="Write it into the database of this host's settings; ask no server.",
)
@url_option
@json_option
def create(
    name: str,
    team: str,
    role: str,
    expires_in_days: float | None,
    offline: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Make a token.

    stdout is the secret and nothing else. It is shown this once: the server keeps a digest.
    """
    if offline and url is not None:
        raise click.UsageError("--offline asks no server, so there is nothing to do with --url")
    lifetime = None if expires_in_days is None else expires_in_days * DAY_SECONDS
    made = (
        _made_offline(name, team, role, lifetime)
        if offline
        else _made_by_server(url, name, team, role, lifetime)
    )
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    token = made.token
    until = "" if token.expires_at is None else f", good until {_date(token.expires_at)}"
    say(f"{token.id}: {token.name}, {token.role} of {token.team}{until}. Shown this once:")
    click.echo(made.secret)


@token.command("list")
@click.option("--team", metavar="TEAM", help="Of this team only.")
@url_option
@json_option
def list_tokens(team: str | None, url: str | None, as_json: bool) -> None:
    """List all tokens without their secrets, the oldest first."""
    with client_for(url) as client:
        found = client.tokens(team)
    if as_json:
        print_json({"tokens": [token.model_dump(mode="json") for token in found]})
        return
    if not found:
        click.echo("There is no token" + (f" of team {team}." if team else "."))
        return
    from orchestrator.interfaces.cli.tables import plain_table

    table = plain_table("id", "name", "team", "role", "used", "expires")
    for column in (0, 3, 4):  # ids are copied, the others are single words
        table.columns[column].no_wrap = True
    now = time.time()
    for token in found:
        used = figures.NOTHING if token.used_at is None else short_age(now - token.used_at)
        table.add_row(token.id, token.name, token.team, token.role, used, _expiry(token, now))
    console().print(table)


@token.command()
@click.argument("id")
@url_option
@json_option
def revoke(id: str, url: str | None, as_json: bool) -> None:
    """Refuse a token from now on."""
    with client_for(url) as client:
        client.revoke_token(id)
    if as_json:
        print_json({"id": id, "revoked": True})
    else:
        click.echo(f"{id} is refused from now on")


def _made_by_server(
    url: str | None, name: str, team: str, role: str, lifetime: float | None
) -> NewToken:
    from orchestrator.records import Role

    with client_for(url) as client:
        return client.create_token(name, team, Role(role), lifetime)


def _made_offline(name: str, team: str, role: str, lifetime: float | None) -> NewToken:
    import getpass

    from orchestrator.interfaces.cli.remote import settings_for
    from orchestrator.interfaces.wire import TokenRequest
    from orchestrator.server.tokens import create_offline

    asked = TokenRequest.of(name=name, team=team, role=role, expires_in_seconds=lifetime)
    settings = settings_for()
    return create_offline(asked, settings, created_by=getpass.getuser(), now=time.time())


def _expiry(token: AccessToken, now: float) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is None:
        return "never"
    if token.expires_at <= now:
        return "expired"
    return f"in {short_age(token.expires_at - now)}"


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment))
