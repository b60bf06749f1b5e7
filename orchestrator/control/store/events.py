"""Events in the order they became visible: what followers of jobs poll.

Appended by `changes` with the change they tell of, read by the API's streams.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, text

from orchestrator.control.store.database import Database
from orchestrator.control.store.rows import EVENTS, event_values
from orchestrator.control.store.schema import events
from orchestrator.records import Event

_LOCK = text(f"SELECT pg_advisory_xact_lock({0x6F72636873_02})")
"""A number of our own among the database's advisory locks."""

_INSERT = insert(events).inline()


class Events:
    """Reads events; nothing but a change of a job adds one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        *,
        job: str | None = None,
        team: str | None = None,
        after_id: int = 0,
        limit: int = 1000,
    ) -> list[Event]:
        """The oldest events after `after_id`, in order.

        Whoever goes on from the last id it saw misses none: ids grow in the order of commits.
        """
        found = select(*EVENTS.columns).where(events.c.id > after_id)
        if job is not None:
            found = found.where(events.c.job == job)
        if team is not None:
            found = found.where(events.c.team == team)
        query = found.order_by(events.c.id).limit(limit)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [EVENTS.record(row) for row in rows]

    def before_last(self, count: int, *, job: str | None = None, team: str | None = None) -> int:
        """The id after which the newest `count` events come; 0: there are no more than those."""
        found = select(events.c.id).order_by(events.c.id.desc()).offset(count).limit(1)
        if job is not None:
            found = found.where(events.c.job == job)
        if team is not None:
            found = found.where(events.c.team == team)
        return self._database.read(lambda connection: connection.scalar(found) or 0)

    def newest_id(self) -> int:
        """Where to begin when only what comes is of interest; 0: there is none yet."""
        query = select(events.c.id).order_by(events.c.id.desc()).limit(1)
        return self._database.read(lambda connection: connection.scalar(query) or 0)


def begin_appending(connection: Connection) -> None:
    """Makes this transaction the only one that appends events, until its end.

    A sequence hands out ids before their rows can be seen: without this a reader could see event 8,
    and 7 only after it had gone on from 8. It comes before locks of rows, so that transactions
    wait for each other in one order. SQLite's transactions are one at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)


def append(connection: Connection, event: Event, team: str) -> None:
    """Adds an event of a job of `team`; after `begin_appending`."""
    connection.execute(_INSERT, event_values(event, team))
