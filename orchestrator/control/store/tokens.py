"""Tokens of users: created by the operator, looked up with every request of the API.

Only a digest of the secret is kept. The secrets are long and random, so one round of sha256 is
enough, and the look-up goes through an index.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import insert, or_, select, update

from orchestrator.control.store.database import Database
from orchestrator.control.store.rows import TOKENS
from orchestrator.control.store.schema import access_tokens
from orchestrator.errors import DatabaseUnavailable
from orchestrator.records import AccessToken, Principal

_USED_EVERY_SECONDS = 60.0


class Tokens:
    """Who may ask."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, token: AccessToken, secret_sha256: str) -> None:
        """Adds a token.

        Raises:
            Conflict: its id or its secret is taken.
        """
        values = {**TOKENS.values(token), "secret_sha256": secret_sha256}
        self._database.write(lambda connection: connection.execute(insert(access_tokens), values))

    def principal_of(self, secret_sha256: str, now: float) -> Principal | None:
        """Whose secret it is; None: nobody's, or its token is revoked or has expired."""
        query = select(*TOKENS.columns).where(access_tokens.c.secret_sha256 == secret_sha256)
        row = self._database.read(lambda connection: connection.execute(query).first())
        token = None if row is None else TOKENS.record(row)
        if token is None or token.revoked_at is not None:
            return None
        if token.expires_at is not None and token.expires_at <= now:
            return None
        if token.used_at is None or token.used_at <= now - _USED_EVERY_SECONDS:
            self._note_use(token.id, now)
        return Principal(name=token.name, team=token.team, role=token.role)

    def list(self, team: str | None = None) -> list[AccessToken]:
        """The oldest first, revoked and expired ones too."""
        query = select(*TOKENS.columns).order_by(access_tokens.c.id)
        if team is not None:
            query = query.where(access_tokens.c.team == team)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [TOKENS.record(row) for row in rows]

    def revoke(self, id: str, now: float) -> bool:
        """Whether there was one to revoke; it is refused from now on."""
        column = access_tokens.c
        statement = (
            update(access_tokens)
            .where(column.id == id, column.revoked_at.is_(None))
            .values(revoked_at=now)
        )
        return self._database.write(lambda connection: connection.execute(statement).rowcount == 1)

    def _note_use(self, id: str, now: float) -> None:
        column = access_tokens.c
        due = or_(column.used_at.is_(None), column.used_at <= now - _USED_EVERY_SECONDS)
        statement = update(access_tokens).where(column.id == id, due).values(used_at=now)
        with suppress(DatabaseUnavailable):  # no reason to turn its holder away
            self._database.write(lambda connection: connection.execute(statement))
