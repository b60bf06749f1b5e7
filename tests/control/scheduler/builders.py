"""Short ways to say what a scheduling cycle looks at and what it decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.control.scheduler import (
    Decisions,
    Node,
    Policy,
    Resources,
    Snapshot,
    Workload,
    plan_cycle,
)
from orchestrator.records import Demand, Placed, Queue, WaitReason

NOW = 1_000_000.0
GB = 10**9


def node(name: str = "n1", gpus: int = 8, **said: Any) -> Node:
    """8 cores and 64 GB for each GPU; at least 8 cores."""
    cpus = said.pop("cpus", float(max(gpus, 1) * 8))
    memory = said.pop("memory_gb", max(gpus, 1) * 64) * GB
    return Node(
        name=name,
        backend=said.pop("backend", "ray"),
        capacity=Resources(cpus, memory, gpus),
        accelerator=said.pop("accelerator", "A100" if gpus else None),
        **said,
    )


def nodes(count: int, gpus: int = 8, **said: Any) -> tuple[Node, ...]:
    return tuple(node(f"n{index}", gpus, **said) for index in range(1, count + 1))


def demand(workers: int = 1, gpus: int = 1, **said: Any) -> Demand:
    return Demand(
        workers=workers,
        gpus_per_worker=gpus,
        cpus_per_worker=said.pop("cpus", 1.0),
        memory_bytes_per_worker=said.pop("memory_gb", 1) * GB,
        **said,
    )


def job(name: str, workers: int = 1, gpus: int = 1, **said: Any) -> Workload:
    """Waits; `at` is when it was queued, in seconds before or after NOW."""
    asked = {
        field: said.pop(field)
        for field in ("cpus", "memory_gb", "accelerator", "node_labels", "fewer")
        if field in said
    }
    return Workload(
        job=name,
        team=said.pop("team", "red"),
        queue=said.pop("queue", "main"),
        priority=said.pop("priority", 0),
        queued_at=NOW + said.pop("at", -100),
        demand=demand(workers, gpus, **asked),
        **said,
    )


def running(name: str, where: Mapping[str, int] | str, **said: Any) -> Workload:
    """Holds a place: node -> workers, or one node for one worker. Began 1000 s ago."""
    placement = {where: said.pop("workers", 1)} if isinstance(where, str) else where
    backend = said.pop("backend", "ray")
    said.setdefault("started_at", NOW - 1000)
    return job(
        name,
        sum(placement.values()),
        placement=tuple(
            Placed(backend=backend, node=node, workers=count) for node, count in placement.items()
        ),
        **said,
    )


def queue(name: str = "main", **said: Any) -> Queue:
    return Queue(name=name, **said)


def plan(
    nodes: Iterable[Node],
    workloads: Iterable[Workload],
    queues: Iterable[Queue] = (),
    policy: Policy | None = None,
) -> Decisions:
    return plan_cycle(
        Snapshot(
            now=NOW,
            nodes=tuple(nodes),
            queues=tuple(queues) or (queue(),),
            workloads=tuple(workloads),
            policy=policy or Policy(),
        )
    )


def started(decisions: Decisions) -> dict[str, dict[str, int]]:
    """job -> node -> workers, in the order of the decisions."""
    return {
        admit.job: {placed.node: placed.workers for placed in admit.placement}
        for admit in decisions.admissions
    }


def preempted(decisions: Decisions) -> dict[str, str]:
    """victim -> the job it gives way to."""
    return {preempt.job: preempt.for_job for preempt in decisions.preemptions}


def reasons(decisions: Decisions) -> dict[str, list[WaitReason]]:
    return {name: [wait.reason for wait in waits] for name, waits in decisions.waits.items()}
