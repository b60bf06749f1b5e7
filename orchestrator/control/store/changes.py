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

from orchestrator.control.store.attempts import put_attempt
from orchestrator.control.store.database import Database
from orchestrator.control.store.events import append, begin_appending
from orchestrator.control.store.leases import Lease, holds
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


def write(
    database: Database, connection: Connection, change: JobChange, lease: Lease | None
) -> Job | None:
    """Writes all of a change or nothing; None: it is stale, or the lease is lost."""
    after = change.after()
    # 1. Locks that are shared come first, so that writers wait for each other in one order.
    if change.event is not None:
        begin_appending(connection)
    # 2. Whoever decides by a lease still has it, and keeps it until the commit.
    if lease is not None and not holds(connection, database, lease):
        return None
    # 3. The job is still as it was seen.
    if connection.execute(_UPDATE, _parameters(change, after)).rowcount == 0:
        return None
    # 4. What is told and written with it.
    if change.event is not None:
        append(connection, change.event, after.team)
    if change.attempt is not None:
        put_attempt(database, connection, change.attempt, change.token_sha256)
    if change.documents is not None:
        values = DOCUMENTS.values(change.documents)
        of_job = job_documents.c.job == after.id
        connection.execute(update(job_documents).where(of_job), values)
    return after


def write_many(
    database: Database, connection: Connection, changes: Sequence[JobChange], lease: Lease | None
) -> list[Job | None]:
    """Writes those of many changes that are not stale; none of them has an event.

    Why jobs wait changes for thousands at once, and is no fact to keep.
    """
    seen = {change.seen.id: change.seen.version for change in changes}
    assert len(seen) == len(changes), "one change a job"
    for change in changes:
        bare = (change.event, change.attempt, change.documents)
        assert bare == (None, None, None), "a change with an event is applied by itself"
    if lease is not None and not holds(connection, database, lease):
        return [None] * len(changes)
    fresh = _locked(connection, seen)
    written = {change.seen.id: change.after() for change in changes if change.seen.id in fresh}
    if written:
        parameters = [
            _parameters(change, written[change.seen.id])
            for change in changes
            if change.seen.id in written
        ]
        connection.execute(_UPDATE, parameters)
    return [written.get(change.seen.id) for change in changes]


def _locked(connection: Connection, seen: Mapping[str, int]) -> set[str]:
    """The jobs whose version is the one seen, locked in one order until the commit."""
    fresh: set[str] = set()
    ids = iter(sorted(seen))
    while some := list(islice(ids, _AT_ONCE)):
        query = select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(some))
        rows = connection.execute(query.order_by(jobs.c.id).with_for_update())
        fresh.update(id for id, version in rows if version == seen[id])
    return fresh


def _parameters(change: JobChange, after: Job) -> dict[str, Any]:
    values = {name: value for name, value in job_values(after).items() if name not in _FIXED}
    return {**values, "seen_id": change.seen.id, "seen_version": change.seen.version}
