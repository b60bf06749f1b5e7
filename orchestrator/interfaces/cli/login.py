"""`orchestrator login`: which server is asked from now on, and with what token."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from orchestrator.interfaces.cli.output import json_option, print_json, say, style

if TYPE_CHECKING:
    from orchestrator.interfaces.client import Login
    from orchestrator.records import Principal

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command()
@click.option("--url", metavar="URL", help="The server; absent: asked for.")
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin; ask nothing.")
@click.option("--logout", is_flag=True, help="Forget what was kept.")
@json_option
def login(url: str | None, token_stdin: bool, logout: bool, as_json: bool) -> None:
    """Keep a server's address and a token for this user.

    The token is asked for without echo, tried, and kept in a file that only its owner can read. It
    is sent to no other server.
    """
    if logout:
        if url is not None or token_stdin:
            raise click.UsageError("--logout takes no other option")
        _forget(as_json=as_json)
        return
    from orchestrator.interfaces.client.login import checked_url, keep_login

    asked = checked_url(url or (_known_url() if token_stdin else _asked_url()))
    _warn_of_http(asked)
    who, kept = _admitted(asked, from_stdin=token_stdin)
    file = keep_login(kept, os.environ)
    _tell_overriding_variables()
    if as_json:
        print_json({"url": kept.url, "file": str(file), **who.model_dump(mode="json")})
    else:
        click.echo(f"{kept.url} knows you as {who.name}, {who.role} of team {who.team}")
        say(f"Kept in {file}")


def _asked_url() -> str:
    _need_terminal("--url URL and --token-stdin")
    answer: str = click.prompt("Server", default=_known_url(), err=True)
    return answer.strip()


def _known_url() -> str:
    """The server that is asked without this; this machine's where what was kept is damaged."""
    from orchestrator.errors import SettingsError
    from orchestrator.interfaces.client.login import DEFAULT_URL, find_login

    try:
        return find_login().url
    except SettingsError:
        return DEFAULT_URL


def _admitted(url: str, *, from_stdin: bool) -> tuple[Principal, Login]:
    """Who one is to the server, and what to keep; a token is asked for only where it takes one."""
    from orchestrator.errors import Unauthenticated, UserError
    from orchestrator.interfaces.client import Login
    from orchestrator.interfaces.client.login import check_token

    if from_stdin:
        token = sys.stdin.readline().strip()
        if not token:
            raise UserError("there is no token on stdin", hint="its first line is read")
    else:
        try:
            return _whoami(Login(url)), Login(url)
        except Unauthenticated:
            _need_terminal("--token-stdin")
        token = click.prompt("Token", hide_input=True, err=True).strip()
    check_token(token)
    kept = Login(url, token)
    return _whoami(kept), kept


def _whoami(login: Login) -> Principal:
    """As the server sees whoever has this login, and nothing from the environment."""
    from orchestrator.interfaces.client.connection import Connection
    from orchestrator.records import Principal

    connection = Connection(login)
    try:
        return connection.get("/whoami", Principal)
    finally:
        connection.close()


def _forget(*, as_json: bool) -> None:
    from orchestrator.interfaces.client.login import forget_login, login_file

    file = login_file(os.environ)
    was_there = forget_login(os.environ)
    if as_json:
        print_json({"file": str(file), "forgotten": was_there})
    else:
        click.echo(f"{file} is deleted" if was_there else f"there was nothing kept in {file}")


def _need_terminal(instead: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(f"stdin is no terminal to ask on: give {instead}")


def _warn_of_http(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        warning = style("warning:", fg="yellow")
        say(f"{warning} {url} is not encrypted: whoever listens on the way can read the token")


def _tell_overriding_variables() -> None:
    from orchestrator.interfaces.client.login import TOKEN_VARIABLE, URL_VARIABLE

    for variable in (URL_VARIABLE, TOKEN_VARIABLE):
        if os.environ.get(variable):
            say(f"{style('warning:', fg='yellow')} {variable} is set and comes before what is kept")
