"""Jobs as rows: added once, changed through `changes`, listed, and deleted when they have ended.

Called by the API for its users and by the controller's loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic_core import to_json
from sqlalchemy import Connection, delete, insert, select

from orchestrator.control.store.changes import Changes, JobChange
from orchestrator.control.store.database import Database
from orchestrator.control.store.events import append, begin_appending
from orchestrator.control.store.leases import Lease
from orchestrator.control.store.listing import JobFilter, Page, conditions, is_live
from orchestrator.control.store.live import LiveJobs
from orchestrator.control.store.rows import ATTEMPTS, DOCUMENTS, JOBS, job_values
from orchestrator.control.store.schema import (
    attempts,
    idempotency_keys,
    job_documents,
    job_labels,
    jobs,
)
from orchestrator.errors import Conflict
from orchestrator.records import Attempt, AttemptState, Event, Job, JobDocuments


class Jobs:
    """The durable requests."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes = Changes(database)
        self._live = LiveJobs(database)

    def add(
        self,
        job: Job,
        documents: JobDocuments,
        event: Event,
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """Adds a job with its first event; of two submits with one key, the second gets its job.

        Raises:
            Conflict: the key or the id came with another spec before.
        """
        assert job.id == documents.job == event.job, "the parts are one job's"
        digest = _digest(documents)

        def work(connection: Connection) -> Job:
            begin_appending(connection)
            if idempotency_key is not None:
                earlier = self._claim(connection, job, idempotency_key, digest)
                if earlier is not None:
                    return earlier
            values = job_values(job)
            added = self._database.insert(jobs).on_conflict_do_nothing(index_elements=["id"])
            if connection.scalar(added.returning(jobs.c.id), values) is None:
                return _added_before(connection, job.id, digest)
            connection.execute(insert(job_documents), DOCUMENTS.values(documents))
            if job.labels:
                labels = [
                    {"job": job.id, "name": name, "value": value}
                    for name, value in job.labels.items()
                ]
                connection.execute(insert(job_labels), labels)
            append(connection, event, job.team)
            return job

        return self._database.write(work)

    def get(self, id: str) -> Job | None:
        return self._database.read(lambda connection: _job(connection, id))

    def documents(self, id: str) -> JobDocuments | None:
        """The spec as written and as resolved, and the plan."""
        query = select(*DOCUMENTS.columns).where(job_documents.c.job == id)
        row = self._database.read(lambda connection: connection.execute(query).first())
        return None if row is None else DOCUMENTS.record(row)

    def list(self, filter: JobFilter, page: Page) -> tuple[list[Job], str | None]:
        """The newest first, and where the next page begins."""
        query = select(*JOBS.columns).where(*conditions(filter)).order_by(jobs.c.id.desc())
        if page.cursor is not None:
            query = query.where(jobs.c.id < page.cursor)
        more = query.limit(page.limit + 1)
        rows = self._database.read(lambda connection: connection.execute(more).all())
        shown = [JOBS.record(row) for row in rows[: page.limit]]
        return shown, shown[-1].id if len(rows) > page.limit else None

    def live(self) -> Sequence[tuple[Job, Attempt | None]]:
        """Every job that has not ended with its newest attempt, the oldest first."""
        return self._live.read()

    def abandoned(self) -> Sequence[tuple[Job, Attempt]]:
        """Attempts that were given up while nobody could be asked about them, with their jobs."""
        query = (
            select(*JOBS.columns, *ATTEMPTS.columns)
            .join(attempts, attempts.c.job == jobs.c.id)
            .where(attempts.c.state == str(AttemptState.ABANDONED))
            .order_by(attempts.c.job, attempts.c.number)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        width = len(JOBS.columns)
        return [(JOBS.record(row[:width]), ATTEMPTS.record(row[width:])) for row in rows]

    def expired(self, now: float, limit: int = 100) -> Sequence[Job]:
        """Jobs whose `ttl_seconds_after_finished` is over, those that ended first to begin with."""
        query = (
            select(*JOBS.columns)
            .where(jobs.c.expires_at <= now)
            .order_by(jobs.c.expires_at)
            .limit(limit)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [JOBS.record(row) for row in rows]

    def apply(self, change: JobChange, lease: Lease | None = None) -> Job | None:
        """The job as changed, in one commit with all that belongs to the change.

        Args:
            lease: What the decision was made under; absent for what users ask for.

        Returns:
            None: the job is no longer as it was seen, or the lease is lost. Drop the change.
        """
        return self._changes.write(change, lease)

    def apply_many(
        self, changes: Sequence[JobChange], lease: Lease | None = None
    ) -> Sequence[Job | None]:
        """`apply` for thousands of changes without an event, in one commit and the same order."""
        return self._changes.write_many(changes, lease)

    def delete(self, id: str) -> bool:
        """Removes an ended job with all that belongs to it; whether there was one."""
        ended = delete(jobs).where(jobs.c.id == id, ~is_live())
        return self._database.write(lambda connection: connection.execute(ended).rowcount == 1)

    def _claim(self, connection: Connection, job: Job, key: str, digest: str) -> Job | None:
        """Takes the key for this job; the job that has it already, if one has."""
        values = {
            "team": job.team,
            "key": key,
            "job": job.id,
            "digest": digest,
            "created_at": job.created_at,
        }
        claim = self._database.insert(idempotency_keys).on_conflict_do_nothing()
        if connection.scalar(claim.returning(idempotency_keys.c.job), values) is not None:
            return None
        taken = select(idempotency_keys.c.job, idempotency_keys.c.digest).where(
            idempotency_keys.c.team == job.team, idempotency_keys.c.key == key
        )
        earlier, earlier_digest = connection.execute(taken).one()
        if earlier_digest != digest:
            raise Conflict(
                f"the idempotency key {key!r} was used for {earlier}, with another spec",
                hint="a key belongs to one submit: take a new one",
            )
        return _job(connection, earlier)


def _added_before(connection: Connection, id: str, digest: str) -> Job:
    """The job, if what was submitted is the same: the answer to the first try was lost."""
    row = connection.execute(select(*DOCUMENTS.columns).where(job_documents.c.job == id)).one()
    job = _job(connection, id)
    if job is None or _digest(DOCUMENTS.record(row)) != digest:
        raise Conflict(f"{id} is there already, with another spec")
    return job


def _job(connection: Connection, id: str) -> Job | None:
    row = connection.execute(select(*JOBS.columns).where(jobs.c.id == id)).first()
    return None if row is None else JOBS.record(row)


def _digest(documents: JobDocuments) -> str:
    """sha256 over what the user submitted, hex."""
    return hashlib.sha256(to_json([documents.written, documents.sets])).hexdigest()
