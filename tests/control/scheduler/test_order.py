"""Whose turn it is: priority, then shares, then age, then id. Tables of small clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from orchestrator.control.scheduler import Node, Workload
from orchestrator.records import Queue
from tests.control.scheduler.builders import job, node, plan, queue, running, started


@dataclass(frozen=True)
class Case:
    says: str
    workloads: tuple[Workload, ...]
    start: list[str]  # in this order
    nodes: tuple[Node, ...] = (node("n1", 1),)
    queues: tuple[Queue, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)


WITHIN_A_QUEUE = (
    Case(
        "the higher priority first, though it came later",
        (job("job-a", at=-500), job("job-b", priority=10, at=-1)),
        ["job-b"],
    ),
    Case("among equals the older", (job("job-b", at=-10), job("job-a", at=-20)), ["job-a"]),
    Case("among twins the smaller id", (job("job-b"), job("job-a")), ["job-a"]),
    Case(
        "a requeued job keeps its place by when it was queued first",
        (job("job-new", at=-10), job("job-preempted", at=-900, preempted_at=999_990.0)),
        ["job-preempted"],
    ),
    Case(
        "who cannot start yet blocks nobody",
        (job("job-a", priority=20, eligible_at=1_000_010.0), job("job-b")),
        ["job-b"],
    ),
    Case(
        "who fits nowhere blocks nobody",
        (job("job-huge", priority=20, gpus=64), job("job-b")),
        ["job-b"],
    ),
)

BETWEEN_TEAMS = (
    Case(
        "the team that holds less, though its job is younger",
        (
            running("job-r", "n1", team="red"),
            job("job-red", team="red", at=-500),
            job("job-blue", team="blue", at=-1),
        ),
        ["job-blue"],
        nodes=(node("n1", 2),),
    ),
    Case(
        "shares count as they are when the turn comes: teams alternate",
        (
            *(job(f"job-red{n}", team="red", at=-100 + n) for n in range(3)),
            *(job(f"job-blue{n}", team="blue", at=-50 + n) for n in range(3)),
        ),
        ["job-red0", "job-blue0", "job-red1", "job-blue1"],
        nodes=(node("n1", 4),),
    ),
    Case(
        "a team of weight 2 gets twice as much",
        (
            *(job(f"job-red{n}", team="red", at=-100 + n) for n in range(6)),
            *(job(f"job-blue{n}", team="blue", at=-50 + n) for n in range(6)),
        ),
        ["job-red0", "job-blue0", "job-red1", "job-red2", "job-blue1", "job-red3"],
        nodes=(node("n1", 6),),
        weights={"red": 2.0},
    ),
    Case(
        "a team of weight 0 comes after all others",
        (job("job-a", team="guests", at=-900), job("job-b", team="red")),
        ["job-b"],
        weights={"guests": 0.0},
    ),
    Case(
        "priority comes before shares",
        (
            running("job-r", "n1", team="red"),
            job("job-red", team="red", priority=10),
            job("job-blue", team="blue"),
        ),
        ["job-red"],
        nodes=(node("n1", 2),),
    ),
    Case(
        "the dominant share counts: 1 of 4 GPUs is more than 4 of 32 cores",
        (
            running("job-g", "n1", team="red", gpus=1, cpus=1.0),
            running("job-c", "n1", team="blue", gpus=0, cpus=4.0),
            job("job-red", team="red", at=-900, gpus=3),
            job("job-blue", team="blue", at=-1, gpus=3),
        ),
        ["job-blue"],
        nodes=(node("n1", 4),),
    ),
    Case(
        "what is being stopped is held until it is gone",
        (
            running("job-s", "n1", team="red", is_stopping=True),
            job("job-red", team="red", at=-900),
            job("job-blue", team="blue", at=-1),
        ),
        ["job-blue"],
        nodes=(node("n1", 2),),
    ),
)

BETWEEN_QUEUES = (
    Case(
        "by the priority of their next jobs",
        (job("job-a", queue="main", at=-900), job("job-b", queue="side", priority=10)),
        ["job-b"],
        queues=(queue("main"), queue("side")),
    ),
    Case(
        "then by their age",
        (job("job-a", queue="main", at=-1), job("job-b", queue="side", at=-2)),
        ["job-b"],
        queues=(queue("main"), queue("side")),
    ),
    Case(
        "shares are a matter within a queue",
        (
            running("job-r", "n1", team="red", queue="main"),
            job("job-red", team="red", queue="side", at=-9),
            job("job-blue", team="blue", queue="main", at=-1),
        ),
        ["job-red"],
        nodes=(node("n1", 2),),
        queues=(queue("main"), queue("side")),
    ),
)


@pytest.mark.parametrize(
    "case", [*WITHIN_A_QUEUE, *BETWEEN_TEAMS, *BETWEEN_QUEUES], ids=lambda case: case.says
)
def test_order(case: Case) -> None:
    queues = case.queues or (queue(weights=dict(case.weights)),)
    assert list(started(plan(case.nodes, case.workloads, queues))) == case.start


def test_the_same_snapshot_is_answered_the_same_in_any_order_of_its_jobs() -> None:
    jobs = [job(f"job-{n}", workers=1 + n % 3, priority=n % 2, team="rgb"[n % 3]) for n in range(9)]
    forwards = started(plan((node("n1", 8),), jobs))
    backwards = started(plan((node("n1", 8),), reversed(jobs)))
    assert forwards == backwards
