"""A small cluster in which decisions come true: what the property tests let happen to it.

The scheduler's promises are checked as each decision is applied, by rules of their own: nothing
here asks the scheduler's code what is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.control.scheduler import (
    Decisions,
    Node,
    Policy,
    Resources,
    Snapshot,
    Workload,
    plan_cycle,
)
from orchestrator.records import Demand, Placed, Queue, Wait

SAVE_SECONDS = 20.0
CHECKPOINT_SECONDS = 50.0


@dataclass
class Job:
    """What the store would remember of a job, and how long it really takes."""

    id: str
    team: str
    queue: str
    priority: int
    queued_at: float
    demand: Demand
    run_seconds: float
    says_seconds: float | None  # its estimate
    placement: tuple[Placed, ...] = ()
    eligible_at: float | None = None
    waits_since: float | None = None  # absent: since it was queued
    blocked_by: Wait | None = None
    avoid: frozenset[str] = frozenset()
    trained_seconds: float = 0.0  # safe in a checkpoint
    started_at: float | None = None
    preempted_at: float | None = None
    stops_at: float | None = None
    is_requeued_after_stop: bool = True
    ended_as: str | None = None
    starts: list[float] = field(default_factory=list)
    gave_way_to: list[str] = field(default_factory=list)
    gave_way_at: list[float] = field(default_factory=list)

    @property
    def is_waiting(self) -> bool:
        return self.ended_as is None and not self.placement

    @property
    def shrinks_at(self) -> float | None:
        if not self.demand.fewer:
            return None
        since = self.queued_at if self.waits_since is None else self.waits_since
        return since + self.demand.patience_seconds

    def ends_at(self) -> float:
        assert self.started_at is not None
        return self.started_at + self.run_seconds - self.trained_seconds


class World:
    """Nodes, queues and jobs at a time, and what may happen to them."""

    def __init__(
        self, nodes: Iterable[Node], queues: Iterable[Queue], policy: Policy | None = None
    ) -> None:
        self.now = 0.0
        self.nodes = {node.name: node for node in nodes}
        self.queues = {queue.name: queue for queue in queues}
        self.policy = policy or Policy()
        self.jobs: dict[str, Job] = {}
        self.decisions: Decisions | None = None

    # What happens

    def submit(self, job: Job) -> None:
        assert job.id not in self.jobs
        self.jobs[job.id] = job

    def advance(self, seconds: float) -> None:
        """Lets time pass, stopping wherever a job ends to plan a cycle."""
        until = self.now + seconds
        while (next_end := self._next_end()) is not None and next_end <= until:
            self.now = max(self.now, next_end)
            self._let_end()
            self.cycle()
        self.now = until

    def fail(self, job: Job) -> None:
        """An attempt fails: again after a backoff, somewhere else if that can be."""
        job.avoid |= {placed.node for placed in job.placement}
        self._requeue(job)
        job.eligible_at = self.now + 30.0

    def cancel(self, job: Job) -> None:
        if job.placement:
            job.stops_at = min(self.now + SAVE_SECONDS, job.stops_at or self.now + SAVE_SECONDS)
            job.is_requeued_after_stop = False
        else:
            job.ended_as = "cancelled"

    def lose_node(self, name: str) -> None:
        del self.nodes[name]
        for job in self.jobs.values():
            if any(placed.node == name for placed in job.placement):
                if job.stops_at is not None and not job.is_requeued_after_stop:
                    self._end(job, "cancelled")
                else:
                    self._requeue(job)

    def change_node(self, name: str, *, is_schedulable: bool) -> None:
        self.nodes[name] = replace(self.nodes[name], is_schedulable=is_schedulable)

    def pause(self, name: str, is_paused: bool) -> None:
        self.queues[name] = self.queues[name].model_copy(update={"is_paused": is_paused})

    def drain(self) -> None:
        """No more arrivals, and nothing in the way: lets time pass until nothing changes."""
        for name in self.nodes:
            self.change_node(name, is_schedulable=True)
        for name in self.queues:
            self.pause(name, is_paused=False)
        for job in self.jobs.values():
            job.blocked_by = None
        for _ in range(20 * len(self.jobs) + 20):
            self.cycle()
            upcoming = [job.eligible_at for job in self.jobs.values() if self._is_held_back(job)]
            next_end = self._next_end()
            if next_end is not None:
                upcoming.append(next_end)
            if not upcoming:
                return
            self.advance(max(0.0, min(t for t in upcoming if t is not None) - self.now))
        raise AssertionError("the queues never ran empty")

    def could_ever_start(self, job: Job) -> bool:
        """Whether it could with all its workers, or with fewer that will do."""
        return any(
            self._could_start(job, job.demand.model_copy(update={"workers": workers}))
            for workers in (job.demand.workers, *job.demand.fewer)
        )

    def _could_start(self, job: Job, demand: Demand) -> bool:
        """Whether all nodes of one backend, with one kind of GPU, and the quota would be enough."""
        room = Counter[tuple[str, str | None]]()
        for node in self.nodes.values():
            kind = node.accelerator if demand.gpus_per_worker else None
            if demand.gpus_per_worker and demand.accelerator not in (None, kind):
                continue
            if demand.node_labels.items() <= dict(node.labels).items():
                room[node.backend, kind] += next(
                    count
                    for count in range(demand.workers, -1, -1)
                    if _within(_whole(demand, count), node)
                )
        quota = self.queues[job.queue].quota
        return any(
            number >= demand.workers
            and all(
                used <= quota.get(resource, used)
                for resource, used in _of_kind(demand, kind).items()
            )
            for (_, kind), number in room.items()
        )

    # One cycle, and whether it kept its promises

    def cycle(self) -> Decisions:
        snapshot = self.snapshot()
        decisions = plan_cycle(snapshot)
        assert plan_cycle(snapshot) == decisions, "decides the same about the same"
        self._check_everyone_is_answered(decisions)
        overdrawn = self._overdrawn_quotas()
        for preempt in decisions.preemptions:
            self._apply_preemption(preempt.job, preempt.for_job)
        for admit in decisions.admissions:
            self._apply_admission(admit.job, admit.placement)
        assert self._overbooked_nodes() == []
        assert self._overdrawn_quotas() <= overdrawn
        self.decisions = decisions
        return decisions

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now=self.now,
            nodes=tuple(self.nodes.values()),
            queues=tuple(self.queues.values()),
            workloads=tuple(
                self._workload(job) for job in self.jobs.values() if job.ended_as is None
            ),
            policy=self.policy,
        )

    def _workload(self, job: Job) -> Workload:
        remaining = job.says_seconds
        if remaining is not None:
            remaining -= job.trained_seconds
            if job.started_at is not None:
                remaining -= self.now - job.started_at
        demand = job.demand
        if job.placement:
            held = sum(placed.workers for placed in job.placement)
            demand = demand.model_copy(update={"workers": held})
        return Workload(
            job=job.id,
            team=job.team,
            queue=job.queue,
            priority=job.priority,
            queued_at=job.queued_at,
            demand=demand,
            placement=job.placement,
            is_stopping=job.stops_at is not None,
            eligible_at=job.eligible_at,
            shrinks_at=job.shrinks_at,
            blocked_by=job.blocked_by,
            remaining_seconds=remaining,
            started_at=job.started_at,
            checkpointed_at=self._checkpointed_at(job),
            preempted_at=job.preempted_at,
            avoid=job.avoid,
        )

    def _check_everyone_is_answered(self, decisions: Decisions) -> None:
        admitted = [admit.job for admit in decisions.admissions]
        waiting = {job.id for job in self.jobs.values() if job.is_waiting}
        assert len(admitted) == len(set(admitted)), "no job is started twice"
        assert set(admitted) | decisions.waits.keys() == waiting, "no job is lost"
        assert not set(admitted) & decisions.waits.keys()
        for waits in decisions.waits.values():
            assert waits
            assert all(wait.message and wait.message.endswith(".") for wait in waits)
            assert all(wait.remedy for wait in waits)

    def _apply_preemption(self, victim_id: str, for_id: str) -> None:
        victim, other = self.jobs[victim_id], self.jobs[for_id]
        assert victim.placement
        assert victim.stops_at is None, "who is stopping is not asked again"
        assert other.is_waiting
        assert victim.priority < other.priority
        assert self.queues[victim.queue].allows_preemption
        if victim.preempted_at is not None:
            assert self.now - victim.preempted_at >= self.policy.preemption_cooldown_seconds
        victim.stops_at = self.now + SAVE_SECONDS
        victim.is_requeued_after_stop = True
        victim.preempted_at = self.now
        victim.gave_way_to.append(for_id)
        victim.gave_way_at.append(self.now)

    def _apply_admission(self, job_id: str, placement: tuple[Placed, ...]) -> None:
        job = self.jobs[job_id]
        assert job.is_waiting
        assert job.blocked_by is None
        assert job.eligible_at is None or job.eligible_at <= self.now
        assert not self.queues[job.queue].is_paused
        size = sum(placed.workers for placed in placement)
        assert size == job.demand.workers or self._may_shrink_to(job, size), "gangs are whole"
        assert len({(placed.backend, placed.node) for placed in placement}) == len(placement)
        assert len({placed.backend for placed in placement}) == 1
        for placed in placement:
            node = self.nodes[placed.node]
            assert node.is_schedulable
            assert node.backend == placed.backend
            if job.demand.gpus_per_worker and job.demand.accelerator is not None:
                assert node.accelerator == job.demand.accelerator
            assert job.demand.node_labels.items() <= dict(node.labels).items()
        job.placement = placement
        job.started_at = self.now
        job.starts.append(self.now)

    def _may_shrink_to(self, job: Job, size: int) -> bool:
        """Fewer are taken after its patience, or where all would never fit what is there."""
        if size not in job.demand.fewer or job.shrinks_at is None:
            return False
        open_ones = {name: node for name, node in self.nodes.items() if node.is_schedulable}
        all_nodes, self.nodes = self.nodes, open_ones
        fits_ever = self._could_start(job, job.demand)
        self.nodes = all_nodes
        return job.shrinks_at <= self.now or not fits_ever

    def _overbooked_nodes(self) -> list[str]:
        held: dict[str, Counter[str]] = {}
        for job in self.jobs.values():
            for placed in job.placement:
                held.setdefault(placed.node, Counter()).update(_whole(job.demand, placed.workers))
        return [name for name, used in held.items() if not _within(used, self.nodes[name])]

    def _overdrawn_quotas(self) -> set[tuple[str, str]]:
        """(queue, resource) of which more is held than the quota allows."""
        held: dict[str, Counter[str]] = {}
        for job in self.jobs.values():
            for placed in job.placement:
                used = _whole(job.demand, placed.workers)
                used[f"gpu/{self.nodes[placed.node].accelerator}"] = used["gpu"]
                held.setdefault(job.queue, Counter()).update(used)
        return {
            (queue, resource)
            for queue, used in held.items()
            for resource, limit in self.queues[queue].quota.items()
            if used[resource] > limit + 1e-6
        }

    # How jobs end

    def _next_end(self) -> float | None:
        ends = [
            job.stops_at if job.stops_at is not None else job.ends_at()
            for job in self.jobs.values()
            if job.placement
        ]
        return min(ends, default=None)

    def _let_end(self) -> None:
        for job in self.jobs.values():
            if not job.placement:
                continue
            if job.stops_at is not None and job.stops_at <= self.now:
                if job.is_requeued_after_stop:
                    assert job.started_at is not None
                    job.trained_seconds += job.stops_at - job.started_at  # it saved
                    job.trained_seconds = min(job.trained_seconds, job.run_seconds)
                    self._requeue(job, has_saved=True)
                else:
                    self._end(job, "cancelled")
            elif job.stops_at is None and job.ends_at() <= self.now:
                self._end(job, "succeeded")

    def _end(self, job: Job, how: str) -> None:
        job.ended_as = how
        job.placement = ()
        job.stops_at = None

    def _requeue(self, job: Job, *, has_saved: bool = False) -> None:
        if not has_saved and job.started_at is not None:
            checkpointed_at = self._checkpointed_at(job) or job.started_at
            job.trained_seconds += max(0.0, checkpointed_at - job.started_at)
        job.placement = ()
        job.started_at = None
        job.stops_at = None
        job.waits_since = self.now

    def _checkpointed_at(self, job: Job) -> float | None:
        if job.started_at is None:
            return None
        since = self.now - job.started_at
        return job.started_at + since // CHECKPOINT_SECONDS * CHECKPOINT_SECONDS

    def _is_held_back(self, job: Job) -> bool:
        return job.is_waiting and job.eligible_at is not None and job.eligible_at > self.now


def _whole(demand: Demand, workers: int) -> Counter[str]:
    return Counter(
        {
            "cpu": demand.cpus_per_worker * workers,
            "memory_bytes": demand.memory_bytes_per_worker * workers,
            "gpu": demand.gpus_per_worker * workers,
        }
    )


def _of_kind(demand: Demand, kind: str | None) -> Counter[str]:
    used = _whole(demand, demand.workers)
    used[f"gpu/{kind}"] = used["gpu"]
    return used


def _within(used: Mapping[str, float], node: Node) -> bool:
    free = Resources(
        node.capacity.cpus - node.foreign.cpus,
        node.capacity.memory_bytes - node.foreign.memory_bytes,
        node.capacity.gpus - node.foreign.gpus,
    )
    return (
        used["cpu"] <= free.cpus + 1e-6
        and used["memory_bytes"] <= free.memory_bytes
        and used["gpu"] <= free.gpus
    )
