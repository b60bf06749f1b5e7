"""Tokens made on the server's own host, without asking a server: how the first one comes about.

Whoever can read and write the server's rows is its operator already. Called by `token create
--offline` and, to tell whether there is a token at all, by `serve`.
"""

from __future__ import annotations

from orchestrator.control.controller.places import is_team
from orchestrator.control.store import Audit, Database, Tokens
from orchestrator.errors import InvalidInput, Problem
from orchestrator.interfaces.api.authentication import digest_of, new_token
from orchestrator.interfaces.wire import NewToken, TokenRequest
from orchestrator.records import AccessToken, AuditEntry
from orchestrator.settings import Settings


def create_offline(
    asked: TokenRequest, settings: Settings, *, created_by: str, now: float
) -> NewToken:
    """A token in the rows of the settings, with an entry in the audit trail.

    Args:
        asked: Whose it will be.
        settings: Say which database.
        created_by: The user of this host who asks.
        now: Seconds since the epoch.

    Raises:
        InvalidInput: No token can be of that team.
        SettingsError: The database cannot be used.
    """
    if not is_team(asked.team):
        raise InvalidInput([Problem(f"no token can be of team {asked.team}", path="team")])
    token, secret = new_token(
        AccessToken(
            id="",
            name=asked.name,
            team=asked.team,
            role=asked.role,
            created_at=now,
            created_by=created_by,
            expires_at=None if asked.expires_in_seconds is None else now + asked.expires_in_seconds,
        )
    )
    database = Database.open(settings.database_url)
    try:
        with database.transaction():
            Tokens(database).create(token, digest_of(secret))
            Audit(database).add(_entry(token))
    finally:
        database.close()
    return NewToken(token=token, secret=secret)


def has_token(database: Database, now: float) -> bool:
    """Whether there is one that is still good."""
    return any(
        token.revoked_at is None and (token.expires_at is None or token.expires_at > now)
        for token in Tokens(database).list()
    )


def _entry(token: AccessToken) -> AuditEntry:
    return AuditEntry(
        time=token.created_at,
        principal=token.created_by,
        team=token.team,
        action="token create --offline",
        target=token.id,
        status=201,
    )
