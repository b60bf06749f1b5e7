"""Queues as rows: what the operator sets up and the scheduler reads."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from orchestrator.control.store.database import Database
from orchestrator.control.store.listing import is_live
from orchestrator.control.store.rows import QUEUES
from orchestrator.control.store.schema import jobs, queues
from orchestrator.errors import Conflict
from orchestrator.records import Queue


class Queues:
    """The queues; the first migration adds one named `default`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, queue: Queue) -> None:
        """Creates or replaces it."""
        values = QUEUES.values(queue)
        statement = (
            self._database.insert(queues)
            .values(values)
            .on_conflict_do_update(
                index_elements=[queues.c.name], set_={"record": values["record"]}
            )
        )
        self._database.write(lambda connection: connection.execute(statement))

    def get(self, name: str) -> Queue | None:
        query = select(*QUEUES.columns).where(queues.c.name == name)
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else QUEUES.record(row)

    def list(self) -> list[Queue]:
        """By name."""
        query = select(*QUEUES.columns)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return sorted((QUEUES.record(row) for row in rows), key=lambda queue: queue.name)

    def delete(self, name: str) -> bool:
        """Whether it was there.

        Raises:
            Conflict: jobs that have not ended are in it.
        """

        def work(connection: Connection) -> bool:
            used = select(jobs.c.id).where(jobs.c.queue == name, is_live()).limit(1)
            if (job := connection.scalar(used)) is not None:
                message = f"the queue {name} still has jobs, such as {job}"
                raise Conflict(message, hint="cancel them, or wait for their end")
            return connection.execute(delete(queues).where(queues.c.name == name)).rowcount == 1

        return self._database.write(work)
