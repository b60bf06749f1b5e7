"""Records as rows: the one place that knows which field is a column and which is in the JSON.

Called by every module that reads or writes records. A field whose name is a column's is that
column; the others are the JSON in `record`, so a new one needs no migration and an old row gets
its default.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Table

from orchestrator.control.store.schema import (
    access_tokens,
    attempts,
    audit,
    events,
    job_documents,
    jobs,
    queues,
)
from orchestrator.records import (
    AccessToken,
    Attempt,
    AuditEntry,
    Event,
    Job,
    JobDocuments,
    Queue,
    Record,
)

R = TypeVar("R", bound=Record)


class Rows(Generic[R]):
    """The rows of one kind of record. Select `columns`, and give their values to `record`."""

    def __init__(self, table: Table, kind: type[R]) -> None:
        self._kind = kind
        self._names = tuple(c.name for c in table.columns if c.name in kind.model_fields)
        self._excluded = frozenset(self._names)
        self.columns: tuple[Column[Any], ...] = (
            *(table.columns[name] for name in self._names),
            table.columns["record"],
        )

    def record(self, values: Sequence[Any]) -> R:
        """The record of `columns`' values, in their order."""
        fields: dict[str, Any] = values[-1]
        fields.update(zip(self._names, values, strict=False))
        return self._kind.model_validate(fields)

    def values(self, record: R) -> dict[str, Any]:
        """column -> value, without what the database itself chooses."""
        fields = record.model_dump()
        row = {name: _plain(fields.pop(name)) for name in self._names}
        return {**row, "record": fields}


def job_values(job: Job) -> dict[str, Any]:
    """A job's columns, and when it may be deleted."""
    end, ttl = job.finished_at, job.ttl_seconds_after_finished
    expires_at = None if end is None or ttl is None else end + ttl
    return {**JOBS.values(job), "expires_at": expires_at}


def event_values(event: Event, team: str) -> dict[str, Any]:
    """An event's columns; its id is the database's."""
    values = {**EVENTS.values(event), "team": team}
    del values["id"]
    return values


def _plain(value: Any) -> Any:
    """Drivers bind texts; an enumeration's member is one only to Python."""
    return str(value) if isinstance(value, StrEnum) else value


JOBS = Rows(jobs, Job)
DOCUMENTS = Rows(job_documents, JobDocuments)
ATTEMPTS = Rows(attempts, Attempt)
EVENTS = Rows(events, Event)
QUEUES = Rows(queues, Queue)
TOKENS = Rows(access_tokens, AccessToken)
AUDIT = Rows(audit, AuditEntry)
