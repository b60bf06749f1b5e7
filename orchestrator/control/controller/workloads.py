"""Jobs and nodes as the scheduler sees them: rows in, one frozen Snapshot out. Pure.

Called by `loop` before each scheduling cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.controller.lifecycle import LIVE
from orchestrator.control.controller.policy import nodes_to_avoid
from orchestrator.control.scheduler.values import Node, Policy, Resources, Snapshot, Workload
from orchestrator.records import (
    Attempt,
    AttemptState,
    Demand,
    Job,
    JobState,
    Placed,
    Queue,
    Wait,
)


def snapshot(
    jobs: Iterable[tuple[Job, Attempt | None]],
    nodes: Iterable[Node],
    queues: Iterable[Queue],
    blocked: Mapping[str, Wait],
    now: float,
    policy: Policy,
) -> Snapshot:
    """What a scheduling cycle looks at.

    Args:
        jobs: Every job that is not at an end, with its newest Attempt.
        nodes: All machines; see `nodes_of`.
        queues: All queues.
        blocked: job -> what the controller knows to be in its way.
        now: Seconds since the epoch.
        policy: The operator's numbers.
    """
    workloads = (workload(job, attempt, blocked.get(job.id), now) for job, attempt in jobs)
    return Snapshot(
        now=now,
        nodes=tuple(nodes),
        queues=tuple(queues),
        workloads=tuple(found for found in workloads if found is not None),
        policy=policy,
    )


def nodes_of(
    told: Mapping[str, Iterable[NodeInfo]], abandoned: Iterable[tuple[Job, Attempt]]
) -> Iterator[Node]:
    """Machines by backend, less what may still run there of Attempts that were given up."""
    taken: dict[tuple[str, str], Resources] = {}
    for job, attempt in abandoned:
        for part in attempt.placement:
            place = (part.backend, part.node)
            taken[place] = _plus(taken.get(place, Resources()), job.demand, part.workers)
    for backend, infos in sorted(told.items()):
        for info in infos:
            yield Node(
                name=info.name,
                backend=backend,
                capacity=Resources(info.cpus, info.memory_bytes, info.gpus),
                foreign=taken.get((backend, info.name), Resources()),
                accelerator=info.accelerator,
                labels=info.labels,
                is_schedulable=info.is_alive,
            )


def _plus(taken: Resources, demand: Demand, workers: int) -> Resources:
    return Resources(
        taken.cpus + workers * demand.cpus_per_worker,
        taken.memory_bytes + workers * demand.memory_bytes_per_worker,
        taken.gpus + workers * demand.gpus_per_worker,
    )


def workload(
    job: Job, attempt: Attempt | None, blocked: Wait | None, now: float
) -> Workload | None:
    """A job that waits or holds a place; None for one that does neither."""
    holds = job.state in LIVE and attempt is not None and attempt.state is not AttemptState.ENDED
    if not holds and (job.state is not JobState.QUEUED or job.wanted is not None):
        return None
    placement = attempt.placement if holds and attempt is not None else ()
    demand = job.demand
    if placement:  # of the gang as it is
        demand = demand.model_copy(update={"workers": sum(part.workers for part in placement)})
    return Workload(
        job=job.id,
        team=job.team,
        queue=job.queue,
        priority=job.priority,
        queued_at=job.queued_at,
        demand=demand,
        placement=placement,
        is_stopping=job.state is JobState.STOPPING,
        eligible_at=job.not_before,
        shrinks_at=_shrinks_at(job),
        blocked_by=blocked,
        remaining_seconds=remaining_seconds(job, attempt if holds else None, now),
        started_at=attempt.created_at if holds and attempt is not None else None,
        checkpointed_at=attempt.checkpoint_at if holds and attempt is not None else None,
        preempted_at=job.preempted_at,
        avoid=nodes_to_avoid(job),
    )


def told_place(placement: tuple[Placed, ...], demand: Demand) -> str:
    """Where a gang goes, and whether it is smaller than it might be, for people."""
    where = ", ".join(f"{part.workers} on {part.node}" for part in placement)
    workers = sum(part.workers for part in placement)
    fewer = f" ({workers} of {demand.workers} workers: there was no room for all)"
    return where + (fewer if workers < demand.workers else "")


def _shrinks_at(job: Job) -> float | None:
    """A backoff is no waiting for room."""
    if not job.demand.fewer:
        return None
    return max(job.changed_at, job.not_before or 0.0) + job.demand.patience_seconds


def remaining_seconds(job: Job, attempt: Attempt | None, now: float) -> float | None:
    """By the steps done where there are some, else by the plan's estimate."""
    if attempt is None:
        return job.estimated_seconds
    if attempt.step and attempt.max_steps and attempt.running_at is not None:
        spent = now - attempt.running_at
        return spent * max(0, attempt.max_steps - attempt.step) / attempt.step
    if job.estimated_seconds is None:
        return None
    return max(0.0, job.estimated_seconds - (now - attempt.created_at))
