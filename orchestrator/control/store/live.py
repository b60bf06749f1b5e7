"""All jobs that have not ended, read again and again by the controller's loop.

Ten thousand may wait while a few run. A record never changes under its version, so those that were
read before are taken from memory, and the database is asked for versions.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, select

from orchestrator.control.store.database import Database
from orchestrator.control.store.listing import is_live
from orchestrator.control.store.rows import ATTEMPTS, JOBS
from orchestrator.control.store.schema import attempts, jobs
from orchestrator.records import Attempt, Job

_FEW = 500  # so many are asked for by name; more: all

_VERSIONS = select(jobs.c.id, jobs.c.version).where(is_live()).order_by(jobs.c.id)
_ATTEMPTS = (
    select(*ATTEMPTS.columns)
    .join(jobs, and_(attempts.c.job == jobs.c.id, attempts.c.number == jobs.c.attempt))
    .where(is_live())
)
_JOBS = select(*JOBS.columns).where(is_live())


class LiveJobs:
    """What was read last, to spare reading it again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Job] = {}

    def read(self) -> list[tuple[Job, Attempt | None]]:
        """By id, the oldest first, each with its newest attempt; of one moment."""
        # What a transaction that is open reads may be rolled back, and its versions given again.
        is_final = not self._database.in_transaction
        found = self._database.read(self._read)
        if is_final:
            self._known = {job.id: job for job, _ in found}
        return found

    def _read(self, connection: Connection) -> list[tuple[Job, Attempt | None]]:
        versions = connection.execute(_VERSIONS).all()
        newest = [ATTEMPTS.record(row) for row in connection.execute(_ATTEMPTS)]
        attempt_of = {attempt.job: attempt for attempt in newest}
        known = self._known
        missing = [id for id, seen in versions if id not in known or known[id].version != seen]
        current = {**known, **_by_id(connection, missing)} if missing else known
        return [(current[id], attempt_of.get(id)) for id, _ in versions if id in current]


def _by_id(connection: Connection, ids: list[str]) -> dict[str, Job]:
    query = _JOBS.where(jobs.c.id.in_(ids)) if len(ids) <= _FEW else _JOBS
    found = (JOBS.record(row) for row in connection.execute(query))
    return {job.id: job for job in found}
