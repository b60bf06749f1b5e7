"""Short ways to say what the store's tests are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.control.store import Database, JobChange, Jobs
from orchestrator.records import (
    Attempt,
    Event,
    Identity,
    Job,
    JobDocuments,
    JobState,
    Phase,
    Reason,
    Report,
)
from orchestrator.records.ids import ulid
from tests.control.builders import resolved_spec

TIME = 1_800_000_000.0
SECRET = "aa" * 32
"""Digest of the token of an attempt."""

S = JobState


def job_name(number: int) -> str:
    """An id; larger numbers are younger."""
    return f"job-{ulid(TIME + number, bytes(10))}"


def a_job(number: int = 1, **fields: Any) -> Job:
    given: dict[str, Any] = {
        "name": "camera",
        "team": "vision",
        "created_by": "ada",
        "created_at": TIME,
        "changed_at": TIME,
        "queued_at": TIME,
        "identity": "5f" * 32,
        "store": "memory://x",
    }
    return Job(id=job_name(number), **{**given, **fields})


def documents(job: str, **fields: Any) -> JobDocuments:
    given: dict[str, Any] = {
        "written": "kind: FineTune\n",
        "sets": ("training.epochs=2",),
        "spec": resolved_spec(),
        "identity": Identity(run="5f" * 32, data={"camera/train": "aa"}, base="bb", recipe="1"),
        "plan": {"verdict": "fits", "bytes": 12},
        "git_commit": "c0ffee",
    }
    return JobDocuments(job=job, **{**given, **fields})


def an_event(job: Job, **fields: Any) -> Event:
    """Of the job as it is."""
    given: dict[str, Any] = {"time": TIME, "kind": "StateChanged", "message": ""}
    known = {"job": job.id, "state": job.state, "reason": job.reason}
    return Event(**{**given, **known, **fields})


def added(jobs: Jobs, number: int = 1, *, key: str | None = None, **fields: Any) -> Job:
    job = a_job(number, **fields)
    event = an_event(job, kind="Created")
    return jobs.add(job, documents(job.id), event, idempotency_key=key)


def moved(seen: Job, state: JobState, reason: Reason = Reason.LAUNCHED, **more: Any) -> JobChange:
    """A change of state with its event; `more` are parts of the change."""
    updates = {"state": state, "reason": reason, **more.pop("updates", {})}
    event = Event(time=TIME, job=seen.id, kind="StateChanged", state=state, reason=reason)
    return JobChange(seen, updates, event, **more)


def an_attempt(job: str, number: int = 1, **fields: Any) -> Attempt:
    return Attempt(job=job, number=number, **{"backend": "fake", "created_at": TIME, **fields})


def started(jobs: Jobs, number: int = 1, secret: str = SECRET) -> Job:
    """A job whose first attempt may report."""
    job = added(jobs, number)
    change = moved(
        job,
        S.STARTING,
        updates={"attempt": 1},
        attempt=an_attempt(job.id),
        token_sha256=secret,
    )
    changed = jobs.apply(change)
    assert changed is not None
    return changed


def ended(jobs: Jobs, job: Job, state: JobState = S.SUCCEEDED, **updates: Any) -> Job:
    """The job, started before, at its end."""
    changed = jobs.apply(moved(job, state, Reason.COMPLETED, updates=updates))
    assert changed is not None
    return changed


def rolled_back(database: Database, work: Callable[[], None]) -> None:
    """Does the work in a transaction that fails after it."""

    def fail() -> None:
        with database.transaction():
            work()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def a_report(job: str, sequence: int, **said: Any) -> Report:
    given: dict[str, Any] = {"attempt": 1, "rank": 0, "time": TIME, "phase": Phase.TRAIN}
    return Report(job=job, sequence=sequence, **{**given, **said})
