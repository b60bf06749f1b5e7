"""What a queue may hold: each resource by itself, kinds of GPU, and what is lent to whom."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from orchestrator.control.scheduler import Node, Workload
from orchestrator.records import Queue, WaitReason
from tests.control.scheduler.builders import GB, job, node, nodes, plan, queue, reasons, running
from tests.control.scheduler.builders import started as starts


@dataclass(frozen=True)
class Case:
    says: str
    quota: dict[str, float]
    workloads: tuple[Workload, ...]
    start: list[str]
    nodes: tuple[Node, ...] = (node("n1", 8),)


CASES = (
    Case(
        "nothing is limited where nothing is said",
        {},
        (job("job-a", gpus=8),),
        ["job-a"],
    ),
    Case(
        "GPUs: 2 of 3 are held",
        {"gpu": 3},
        (running("job-r", "n1", gpus=2), job("job-a", gpus=2), job("job-b", gpus=1, at=-1)),
        [],
    ),
    Case(
        "GPUs: the last one",
        {"gpu": 3},
        (running("job-r", "n1", gpus=2), job("job-a", gpus=1)),
        ["job-a"],
    ),
    Case(
        "cores",
        {"cpu": 4},
        (job("job-a", gpus=0, cpus=3.0), job("job-b", gpus=0, cpus=1.5, at=-1)),
        ["job-a"],
    ),
    Case(
        "thousandths of cores add up exactly",
        {"cpu": 0.3},
        tuple(job(f"job-{n}", gpus=0, cpus=0.1, at=n) for n in range(4)),
        ["job-0", "job-1", "job-2"],
    ),
    Case(
        "memory",
        {"memory_bytes": 10 * GB},
        (job("job-a", workers=2, memory_gb=4), job("job-b", memory_gb=3, at=-1)),
        ["job-a"],
    ),
    Case(
        "a kind of GPU: the other kind is not limited",
        {"gpu/A100": 1},
        (
            job("job-a", accelerator="A100"),
            job("job-b", accelerator="A100", at=-2),
            job("job-c", accelerator="H100", at=-1),
        ),
        ["job-a", "job-c"],
        nodes=(node("n1", 4, accelerator="A100"), node("n2", 4, accelerator="H100")),
    ),
    Case(
        "a gang that takes any kind goes where the quota lets it",
        {"gpu/A100": 1},
        (job("job-a", workers=2),),
        ["job-a"],
        nodes=(node("n1", 4, accelerator="A100"), node("n2", 4, accelerator="H100")),
    ),
    Case(
        "a job that is being stopped holds its quota until it is gone",
        {"gpu": 1},
        (running("job-r", "n1", is_stopping=True), job("job-a")),
        [],
    ),
    Case(
        "a gang on a node that is gone holds its quota, too",
        {"gpu": 1},
        (running("job-r", "n9"), job("job-a")),
        [],
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_quota(case: Case) -> None:
    decisions = plan(case.nodes, case.workloads, (queue(quota=case.quota),))
    assert list(starts(decisions)) == case.start


def queues(**said: float) -> tuple[Queue, ...]:
    """Quotas are limits, not reservations: together they may exceed the cluster."""
    return tuple(queue(name, quota={"gpu": limit}) for name, limit in said.items())


def test_a_queue_uses_what_others_leave_idle_up_to_its_own_limit() -> None:
    """Borrowing is what limits above a fair part of the cluster allow; nobody lends by contract."""
    jobs = [job(f"job-{n}", queue="main", at=n) for n in range(8)]
    decisions = plan((node("n1", 8),), jobs, queues(main=6, side=6))
    assert len(decisions.admissions) == 6
    assert reasons(decisions)["job-6"][0] is WaitReason.QUOTA


def test_what_was_borrowed_comes_back_by_preemption_of_lower_priority() -> None:
    jobs = (
        *(running(f"job-{n}", "n1", queue="main", priority=-10) for n in range(8)),
        job("job-x", gpus=2, queue="side", priority=0),
    )
    decisions = plan((node("n1", 8),), jobs, queues(main=8, side=4))
    assert len(decisions.preemptions) == 2
    assert {preempt.for_job for preempt in decisions.preemptions} == {"job-x"}


def test_a_queue_with_more_than_its_quota_starts_nothing_and_stops_nothing() -> None:
    """Its quota was lowered while jobs ran."""
    jobs = (running("job-r", "n1", gpus=4), job("job-a"))
    decisions = plan((node("n1", 8),), jobs, queues(main=2))
    assert not decisions.admissions
    assert not decisions.preemptions


def test_a_claim_on_the_quota_is_kept_for_the_first() -> None:
    """job-big waits for all 4; job-small would take one of them for longer than job-r runs."""
    jobs = (
        running("job-r", "n1", gpus=2, remaining_seconds=100.0),
        job("job-big", gpus=4, at=-50),
        job("job-long", at=-20, remaining_seconds=500.0),
        job("job-short", at=-10, remaining_seconds=90.0),
    )
    decisions = plan(nodes(1), jobs, queues(main=4))
    assert list(starts(decisions)) == ["job-short"]
