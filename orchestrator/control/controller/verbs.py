"""What people may do to a job that is there: cancel, suspend, resume, retry, rerun, delete, stacks.

Called by the API. A job that holds no Attempt changes at once; of a live one it is kept what was
asked for (`wanted`), and the controller acts upon it. All of it is written by `Jobs.apply`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.control.controller.lifecycle import LIVE
from orchestrator.control.controller.replanning import Replanned, check_resumable, replan
from orchestrator.control.controller.submission import (
    STORE_SECONDS,
    Ground,
    Submitted,
    require,
)
from orchestrator.control.store import Attempts, JobChange, JobFilter, Jobs, Page
from orchestrator.errors import Conflict, Forbidden, NotFound, StoreError
from orchestrator.records import (
    Action,
    Event,
    Goal,
    Job,
    JobDocuments,
    JobState,
    Principal,
    Reason,
    Role,
)
from orchestrator.records.ids import job_id
from orchestrator.storage.objectstore import open_store

logger = logging.getLogger(__name__)

TRIES = 10
"""How often a change is decided anew because the job has moved on meanwhile."""

Decide = Callable[[Job], JobChange | None]
"""The change of a job as it is now; None: it is already as it shall be."""


def visible(jobs: Jobs, id: str, principal: Principal) -> Job:
    """A job the principal may see; raises NotFound, for another team's job too."""
    job = jobs.get(id)
    if job is None or (job.team != principal.team and principal.role is not Role.ADMIN):
        raise NotFound(f"there is no job {id}", hint="`orchestrator jobs` lists them")
    return job


def may_change(job: Job, principal: Principal) -> bool:
    """Whether the principal may change a job it sees."""
    if principal.role is Role.SUBMITTER:
        return job.created_by == principal.name
    return principal.role.includes(Role.LEAD)


def cancel(jobs: Jobs, id: str, principal: Principal, now: float) -> Job:
    """Ends a job for good; what it saved stays. Raises Conflict where it has ended otherwise."""

    def decide(job: Job) -> JobChange | None:
        if job.state is JobState.CANCELLED or job.wanted is Goal.CANCEL:
            return None
        if job.state.is_terminal:
            raise Conflict(f"{id} has ended: it is {job.state}")
        if job.state in LIVE:
            return _wanting(job, Goal.CANCEL, "CancelRequested", principal, now)
        updates = {**_at_rest(JobState.CANCELLED, Reason.CANCELLED, now), "finished_at": now}
        return _change(job, updates, principal, now, "cancelled")

    return _applied(jobs, id, principal, decide)


def suspend(jobs: Jobs, id: str, principal: Principal, now: float) -> Job:
    """Takes a job out of its queue; one that trains saves a checkpoint first."""

    def decide(job: Job) -> JobChange | None:
        if job.state is JobState.SUSPENDED or job.wanted is Goal.SUSPEND:
            return None
        if job.state.is_terminal:
            raise Conflict(f"{id} has ended: it is {job.state}")
        if job.wanted is Goal.CANCEL or job.goal is Goal.CANCEL:
            raise Conflict(f"{id} is being cancelled")
        if job.state in LIVE:
            return _wanting(job, Goal.SUSPEND, "SuspendRequested", principal, now)
        updates = _at_rest(JobState.SUSPENDED, Reason.SUSPENDED, now)
        return _change(job, updates, principal, now, "suspended")

    return _applied(jobs, id, principal, decide)


def resume(ground: Ground, id: str, sets: Sequence[str], principal: Principal, now: float) -> Job:
    """Puts a suspended job back into its queue; it goes on from its newest checkpoint.

    Raises:
        InvalidInput: `sets` change more than engine and resources, or do not fit the checkpoint.
        PlanRefused: It cannot work so.
        Conflict: It is not suspended, or its data have changed.
    """
    check_resumable(sets)
    replanned: Replanned | None = None
    if sets:
        job = _changeable(ground.jobs, id, principal)
        if job.state is JobState.SUSPENDED:
            replanned = replan(job, _documents(ground.jobs, job), sets, ground)

    def decide(job: Job) -> JobChange | None:
        if job.state is not JobState.SUSPENDED:
            return _not_suspended(job, sets, principal, now)
        updates = {**_at_rest(JobState.QUEUED, Reason.RESUMED, now), "queued_at": now}
        updates |= {"failures": {}, "node_failures": {}}
        if replanned is None:
            return _change(job, updates, principal, now, "resumed")
        if job.version != replanned.version:
            raise Conflict(f"{id} was changed meanwhile", hint="try again")
        change = _change(
            job, {**updates, **replanned.updates}, principal, now, f"{', '.join(sets)}: resumed"
        )
        return replace(change, documents=replanned.documents)

    return _applied(ground.jobs, id, principal, decide)


def retry(jobs: Jobs, id: str, principal: Principal, now: float) -> Job:
    """Queues a job that failed or was cancelled again; it goes on from its newest checkpoint."""

    def decide(job: Job) -> JobChange | None:
        if job.state in (JobState.QUEUED, *LIVE):
            return None
        if job.state is JobState.SUSPENDED:
            raise Conflict(f"{id} is suspended", hint=f"orchestrator resume {id}")
        if job.state is JobState.SUCCEEDED:
            hint = f"`orchestrator rerun {id}` trains it again"
            raise Conflict(f"{id} has succeeded", hint=hint)
        same = JobFilter(team=job.team, identity=job.identity, states=_NOT_ENDED)
        if found := jobs.list(same, Page(limit=1))[0]:
            raise Conflict(f"{found[0].id} does the same and is {found[0].state}")
        updates = {
            **_at_rest(JobState.QUEUED, Reason.RETRIED, now),
            "queued_at": now,
            "started_at": None,
            "finished_at": None,
            "failures": {},
            "node_failures": {},
        }
        return _change(job, updates, principal, now, "tried again")

    return _applied(jobs, id, principal, decide)


def rerun(
    ground: Ground, id: str, principal: Principal, now: float, idempotency_key: str | None = None
) -> Submitted:
    """A new job from the documents of another one, which stays as it is."""
    require(principal, Role.SUBMITTER)
    job = visible(ground.jobs, id, principal)
    if job.team != principal.team:
        raise Forbidden(f"{id} is of team {job.team}: only its members run it again")
    documents = _documents(ground.jobs, job)
    copy = Job(
        id=job_id(now, ground.randomness(10)),
        created_by=principal.name,
        created_at=now,
        changed_at=now,
        queued_at=now,
        **{name: getattr(job, name) for name in _COPIED},
    )
    event = Event(
        time=now,
        job=copy.id,
        kind="Created",
        state=copy.state,
        reason=copy.reason,
        message=f"{id} run again by {principal.name}",
    )
    renamed = documents.model_copy(update={"job": copy.id})
    added = ground.jobs.add(copy, renamed, event, idempotency_key=idempotency_key)
    return Submitted(added, is_new=added.id == copy.id)


_COPIED = (
    *("name", "team", "labels", "queue", "priority", "demand", "estimated_seconds", "after"),
    *("pre_running_seconds", "active_seconds", "hang_seconds", "ttl_seconds_after_finished"),
    *("identity", "store"),
)
_NOT_ENDED = tuple(state for state in JobState if not state.is_terminal)


def delete(jobs: Jobs, id: str, principal: Principal) -> str:
    """Deletes an ended job with its checkpoints and logs; what it published stays.

    Returns:
        What could not be deleted, for people; empty where nothing is left.

    Raises:
        Conflict: It has not ended.
    """
    job = _changeable(jobs, id, principal)
    if not job.state.is_terminal or not jobs.delete(id):
        raise Conflict(f"{id} has not ended: it is {job.state}", hint=f"orchestrator cancel {id}")
    return clear_bytes(job)


def clear_bytes(job: Job) -> str:
    """Deletes what a job left in the object store, except for models; see `delete`."""
    try:
        store = open_store(job.store, retry_seconds=STORE_SECONDS)
        store.delete_prefix(f".checkpoints/{job.id}")
    except StoreError as error:
        left = f"{job.store}/.checkpoints/{job.id} is still there: {error.message}"
        logger.warning("%s", left)
        return left
    return ""


def dump_stacks(jobs: Jobs, attempts: Attempts, id: str, principal: Principal, now: float) -> Job:
    """Asks all ranks for their stacks, with the answers to their next Reports.

    Those of before are deleted first, so that what is there is new.
    """
    job = _changeable(jobs, id, principal)
    if job.state not in LIVE or not job.attempt:
        raise Conflict(f"{id} has no workers: it is {job.state}")
    store = open_store(job.store, retry_seconds=STORE_SECONDS)
    store.delete_prefix(f".checkpoints/{id}/a{job.attempt}/stacks")

    def decide(job: Job) -> JobChange | None:
        newest = next((a for a in attempts.list(id) if a.number == job.attempt), None)
        if job.state not in LIVE or newest is None:
            raise Conflict(f"{id} has no workers: it is {job.state}")
        if newest.directive == Action.SAVE_AND_STOP:
            raise Conflict(f"{id} is saving a checkpoint to stop", hint="wait until it has")
        asked = newest.model_copy(
            update={"directive": str(Action.DUMP_STACKS), "directive_at": now}
        )
        event = _event(job, "StacksRequested", job.state, job.reason, principal, now)
        return JobChange(job, {}, event, attempt=asked)

    return _applied(jobs, id, principal, decide)


# Below: one change, decided again where the job has moved on.


def _applied(jobs: Jobs, id: str, principal: Principal, decide: Decide) -> Job:
    for _ in range(TRIES):
        job = _changeable(jobs, id, principal)
        change = decide(job)
        if change is None:
            return job
        applied = jobs.apply(change)
        if applied is not None:
            return applied
    raise Conflict(f"{id} changes all the time", hint="try again")


def _changeable(jobs: Jobs, id: str, principal: Principal) -> Job:
    job = visible(jobs, id, principal)
    if not may_change(job, principal):
        whose = f"{job.created_by} or a lead of {job.team}"
        raise Forbidden(f"{id} can be changed by {whose}, not by {principal.name}")
    return job


def _at_rest(state: JobState, reason: Reason, now: float) -> dict[str, Any]:
    """Fields of a job that holds no Attempt and waits for nothing that it waited for before."""
    cleared = {"wanted": None, "goal": None, "goal_reason": None, "waits": (), "not_before": None}
    return {**cleared, "state": state, "reason": reason, "message": "", "changed_at": now}


def _change(
    job: Job, updates: Mapping[str, Any], principal: Principal, now: float, what: str
) -> JobChange:
    message = f"{what} by {principal.name}"
    event = Event(
        time=now,
        job=job.id,
        attempt=job.attempt or None,
        kind="StateChanged",
        state=updates["state"],
        reason=updates["reason"],
        message=message,
    )
    return JobChange(job, updates, event)


def _wanting(job: Job, goal: Goal, kind: str, principal: Principal, now: float) -> JobChange:
    event = _event(job, kind, job.state, job.reason, principal, now)
    return JobChange(job, {"wanted": goal}, event)


def _event(
    job: Job, kind: str, state: JobState, reason: Reason, principal: Principal, now: float
) -> Event:
    return Event(
        time=now,
        job=job.id,
        attempt=job.attempt or None,
        kind=kind,
        state=state,
        reason=reason,
        message=f"asked for by {principal.name}",
    )


def _not_suspended(
    job: Job, sets: Sequence[str], principal: Principal, now: float
) -> JobChange | None:
    """Resuming what is not suspended: taking back what was asked for, or nothing to do."""
    if job.state.is_terminal:
        hint = f"orchestrator retry {job.id}" if job.state is not JobState.SUCCEEDED else None
        raise Conflict(f"{job.id} has ended: it is {job.state}", hint=hint)
    if sets:
        hint = f"`orchestrator suspend {job.id}` first"
        raise Conflict(f"{job.id} is {job.state}: only a suspended job can be changed", hint=hint)
    if job.state is JobState.STOPPING or job.wanted is Goal.CANCEL:
        raise Conflict(f"{job.id} is being stopped", hint="resume it when it is SUSPENDED")
    if job.wanted is None:
        return None
    event = _event(job, "ResumeRequested", job.state, job.reason, principal, now)
    return JobChange(job, {"wanted": None}, event)


def _documents(jobs: Jobs, job: Job) -> JobDocuments:
    documents = jobs.documents(job.id)
    if documents is None:
        raise NotFound(f"there is no job {job.id}", hint="it was deleted just now")
    return documents
