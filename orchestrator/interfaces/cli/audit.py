"""`orchestrator audit`: who asked the server for what, and how it was answered."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

from orchestrator.interfaces.cli.connecting import client_for, limit_option, url_option
from orchestrator.interfaces.cli.output import console, json_option, print_json, say

if TYPE_CHECKING:
    from orchestrator.records import AuditEntry


@click.command()
@click.option("--team", metavar="TEAM", help="Of this team; of others: admins only.")
@limit_option
@url_option
@json_option
def audit(team: str | None, limit: int, url: str | None, as_json: bool) -> None:
    """Say who asked for what, the newest first; for leads and admins."""
    with client_for(url) as client:
        found = client.audit(team, limit + 1)
    shown, has_more = found[:limit], len(found) > limit
    if as_json:
        entries = [entry.model_dump(mode="json") for entry in shown]
        print_json({"entries": entries, "more": has_more})
        return
    if not shown:
        click.echo("There is no entry.")
        return
    from orchestrator.interfaces.cli.tables import plain_table

    table = plain_table("when", "who", "asked for", ">answer")
    table.columns[0].no_wrap = True
    for entry in shown:
        when = time.strftime("%m-%d %H:%M:%S", time.localtime(entry.time))
        style = "" if entry.status < 400 else "yellow"
        who = f"{entry.principal} of {entry.team}"
        table.add_row(when, who, _what(entry), str(entry.status), style=style)
    console().print(table)
    if has_more:
        say(f"There are more: --limit {10 * limit}")


def _what(entry: AuditEntry) -> str:
    """The request, and below it what it was about; digests are shortened."""
    action, rest = entry.action.replace("/api/v1", ""), []
    for word in entry.target.split():
        action = action.replace(f"/{word}", "/…")
        rest.append(word[:12] + "…" if re.fullmatch("[0-9a-f]{64}", word) else word)
    return f"{action}\n{' '.join(rest)}".rstrip()
