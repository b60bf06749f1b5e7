"""A plan as a Job: the one place where fields of a spec become fields of the durable request.

Called by whoever admits a spec: the one-shot run and the service's submission. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.control.admission.plan import Plan
from orchestrator.records import (
    PRIORITIES,
    Demand,
    Event,
    Job,
    JobDocuments,
    JobState,
    Principal,
    Reason,
)
from orchestrator.specs.sizes import PATIENCE_SECONDS, fewer_workers

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for a job, and how it was written."""

    principal: Principal
    written: str
    sets: tuple[str, ...] = ()
    git_commit: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """What `Jobs.add` takes."""

    job: Job
    documents: JobDocuments
    event: Event


def job_of_plan(
    plan: Plan, request: Request, *, id: str, now: float, store: str, after: tuple[str, ...] = ()
) -> NewJob:
    """The job of a plan, QUEUED.

    Args:
        plan: Whose resolved spec it will run.
        request: Who asked for it.
        id: The job's.
        now: Seconds since the epoch.
        store: URL of the object store it publishes to.
        after: Ids of the jobs that must succeed first.
    """
    assert plan.spec.spec.output.name is not None, "a resolved spec has it"
    who = request.principal
    return NewJob(
        job=_job(plan, who, id, now, store).model_copy(update={"after": after}),
        documents=JobDocuments(
            job=id,
            written=request.written,
            sets=request.sets,
            spec=plan.spec,
            identity=plan.identity,
            plan=plan.model_dump(mode="json", exclude={"spec", "identity"}),
            git_commit=request.git_commit,
        ),
        event=Event(
            time=now,
            job=id,
            kind="Created",
            state=JobState.QUEUED,
            reason=Reason.SUBMITTED,
            message=f"submitted by {who.name}",
        ),
    )


def _job(plan: Plan, who: Principal, id: str, now: float, store: str) -> Job:
    scheduling = plan.spec.spec.scheduling
    return Job(
        id=id,
        name=plan.spec.metadata.name,
        team=who.team,
        created_by=who.name,
        labels=plan.spec.metadata.labels,
        queue=scheduling.queue,
        priority=PRIORITIES[scheduling.priority],
        created_at=now,
        changed_at=now,
        queued_at=now,
        demand=demand_of_plan(plan),
        estimated_seconds=plan.time.total_seconds if plan.time is not None else None,
        pre_running_seconds=scheduling.pre_running_seconds,
        active_seconds=scheduling.active_seconds,
        hang_seconds=scheduling.hang_seconds,
        ttl_seconds_after_finished=scheduling.ttl_seconds_after_finished,
        identity=plan.identity.run,
        store=store,
    )


def demand_of_plan(plan: Plan) -> Demand:
    """What the gang takes: what the spec says, and where it is silent about memory, the plan.

    Where that is silent too, the memory is not counted.
    """
    resources = plan.spec.spec.resources
    asked = resources.memory_gb_per_worker
    memory = 0
    if plan.memory is not None:
        memory = plan.memory.host_worker_bytes + plan.memory.snapshot_bytes
    if plan.fewest is not None:  # a worker of a smaller gang holds a larger share
        memory = max(memory, plan.fewest.host_worker_bytes)
    if asked is not None:
        memory = round(asked * GIGABYTE)
    return Demand(
        workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=resources.gpus_per_worker,
        memory_bytes_per_worker=memory,
        accelerator=resources.accelerator,
        node_labels=plan.spec.spec.scheduling.node_labels,
        fewer=fewer_workers(plan.spec.spec),
        patience_seconds=PATIENCE_SECONDS
        if resources.patience_seconds is None
        else resources.patience_seconds,
    )
