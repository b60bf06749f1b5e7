"""The audit trail: which principal asked for what, and how it was answered. Only ever added to."""

from __future__ import annotations

from sqlalchemy import insert, select

from orchestrator.control.store.database import Database
from orchestrator.control.store.listing import Page
from orchestrator.control.store.rows import AUDIT
from orchestrator.control.store.schema import audit
from orchestrator.errors import UserError
from orchestrator.records import AuditEntry


class Audit:
    """Written by the API with every request that changes something."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        values = AUDIT.values(entry)
        self._database.write(lambda connection: connection.execute(insert(audit), values))

    def list(self, page: Page, team: str | None = None) -> tuple[list[AuditEntry], str | None]:
        """The newest first, and where the next page begins."""
        query = select(*AUDIT.columns, audit.c.id).order_by(audit.c.id.desc())
        if team is not None:
            query = query.where(audit.c.team == team)
        if page.cursor is not None:
            query = query.where(audit.c.id < _position(page.cursor))
        more = query.limit(page.limit + 1)
        rows = self._database.read(lambda connection: connection.execute(more).all())
        shown = rows[: page.limit]
        following = str(shown[-1].id) if len(rows) > page.limit else None
        return [AUDIT.record(row[:-1]) for row in shown], following


def _position(cursor: str) -> int:
    if not cursor.isdecimal():
        raise UserError(f"{cursor!r} is no cursor", hint="use the one that came with the page")
    return int(cursor)
