"""The one place that writes a job's state, with its Event in the same commit.

Called by `Jobs.apply` for the controller and the API alike. A change names the job as it was seen;
if the row has moved on since, nothing is written and the change is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from orchestrator.control.store.attempts import WrittenAttempts
from orchestrator.control.store.database import Database
from orchestrator.control.store.events import append, begin_appending
from orchestrator.control.store.leases import HeldLease, Lease
from orchestrator.control.store.rows import DOCUMENTS, job_values
from orchestrator.control.store.schema import job_documents, jobs
from orchestrator.records import Attempt, Event, Job, JobDocuments, may_follow

_FIXED = frozenset({"format", "id", "name", "team", "created_by", "created_at", "labels"})
"""What a job keeps for its life."""

_UPDATE = update(jobs).where(
    jobs.c.id == bindparam("seen_id"), jobs.c.version == bindparam("seen_version")
)
_AT_ONCE = 1000  # parameters of one statement; both databases take many more


@dataclass(frozen=True, slots=True)
class JobChange:
    """What shall become of a job, as somebody decided who saw it as `seen`.

    Attributes:
        updates: Fields of `Job`; of `version` and of what never changes there is none.
        event: Told with it; a change of state has one.
        attempt: Added, or written over the one of its number except for what Reports said.
        token_sha256: Of the secret that the attempt reports with; absent: it keeps its own.
        documents: In place of those it was submitted with.
    """

    seen: Job
    updates: Mapping[str, Any]
    event: Event | None = None
    attempt: Attempt | None = None
    token_sha256: str | None = None
    documents: JobDocuments | None = None

    def after(self) -> Job:
        """The job once it is changed."""
        unknown = self.updates.keys() - (Job.model_fields.keys() - _FIXED - {"version"})
        assert not unknown, f"no change of {sorted(unknown)}"
        fields = {**dict(self.seen), **self.updates, "version": self.seen.version + 1}
        after = Job.model_validate(fields)
        if after.state is not self.seen.state:
            assert may_follow(self.seen.state, after.state), f"{self.seen.state} -> {after.state}"
            assert self.event is not None, "a state changes with its event"
        if self.event is not None:
            told = (self.event.job, self.event.state)
            assert told == (after.id, after.state), f"{told} is another job's event"
        for part in (self.attempt, self.documents):
            assert part is None or part.job == after.id, f"{part} is another job's"
        return after


class _Row:
    """A change, checked and ready to be written."""

    def __init__(self, change: JobChange) -> None:
        self.change = change
        self.after = change.after()
        values = {n: value for n, value in job_values(self.after).items() if n not in _FIXED}
        seen = {"seen_id": change.seen.id, "seen_version": change.seen.version}
        self.parameters: dict[str, Any] = {**values, **seen}


class Changes:
    """Writes changes, for `Jobs`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases = HeldLease(database)
        self._attempts = WrittenAttempts(database)

    def write(self, change: JobChange, lease: Lease | None) -> Job | None:
        """Writes all of a change or nothing; None: it is stale, or the lease is lost."""
        row = _Row(change)
        return self._database.write(lambda connection: self._write(connection, row, lease))

    def write_many(self, changes: Sequence[JobChange], lease: Lease | None) -> Sequence[Job | None]:
        """Writes those of many changes that are not stale; none of them has an event.

        Why jobs wait changes for thousands at once, and is no fact to keep.
        """
        assert len({change.seen.id for change in changes}) == len(changes), "one change a job"
        for change in changes:
            bare = (change.event, change.attempt, change.documents)
            assert bare == (None, None, None), "a change with an event is applied by itself"
        # All that takes time comes before the transaction, whose locks others wait for.
        rows = [_Row(change) for change in changes]
        return self._database.write(lambda connection: self._write_many(connection, rows, lease))

    def _write(self, connection: Connection, row: _Row, lease: Lease | None) -> Job | None:
        change, after = row.change, row.after
        # 1. Locks that are shared come first, so that writers wait for each other in one order.
        if change.event is not None:
            begin_appending(connection)
        # 2. Whoever decides by a lease still has it, and keeps it until the commit.
        if lease is not None and not self._leases.is_held(connection, lease):
            return None
        # 3. The job is still as it was seen.
        if connection.execute(_UPDATE, row.parameters).rowcount == 0:
            return None
        # 4. What is told and written with it.
        if change.event is not None:
            append(connection, change.event, after.team)
        if change.attempt is not None:
            self._attempts.put(connection, change.attempt, change.token_sha256)
        if change.documents is not None:
            values = DOCUMENTS.values(change.documents)
            of_job = job_documents.c.job == after.id
            connection.execute(update(job_documents).where(of_job), values)
        return after

    def _write_many(
        self, connection: Connection, rows: Sequence[_Row], lease: Lease | None
    ) -> list[Job | None]:
        if lease is not None and not self._leases.is_held(connection, lease):
            return [None] * len(rows)
        fresh = _locked(connection, {row.after.id: row.change.seen.version for row in rows})
        parameters = iter([row.parameters for row in rows if row.after.id in fresh])
        while some := list(islice(parameters, _AT_ONCE)):
            connection.execute(_UPDATE, some)
        return [row.after if row.after.id in fresh else None for row in rows]


def _locked(connection: Connection, seen: Mapping[str, int]) -> set[str]:
    """The jobs whose version is the one seen, locked in one order until the commit."""
    fresh: set[str] = set()
    ids = iter(sorted(seen))
    while some := list(islice(ids, _AT_ONCE)):
        query = select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(some))
        rows = connection.execute(query.order_by(jobs.c.id).with_for_update())
        fresh.update(id for id, version in rows if version == seen[id])
    return fresh
