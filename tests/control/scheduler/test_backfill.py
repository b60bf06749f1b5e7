"""Places in the future, and who may use them until then: the first is never delayed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from orchestrator.control.scheduler import Node, Policy, Workload
from tests.control.scheduler.builders import NOW, job, node, plan, queue, running, started


@dataclass(frozen=True)
class Case:
    says: str
    workloads: tuple[Workload, ...]
    start: list[str]
    nodes: tuple[Node, ...] = (node("n1", 8),)


HEAD = job("job-head", gpus=8, at=-900)
"""Needs the whole node."""


def busy(gpus: int = 4, **said: object) -> Workload:
    return running("job-r", "n1", gpus=gpus, **{"remaining_seconds": 100.0, **said})


CASES = (
    Case(
        "who ends before the head begins may start",
        (busy(), HEAD, job("job-short", remaining_seconds=100.0)),
        ["job-short"],
    ),
    Case(
        "who would end a second later may not",
        (busy(), HEAD, job("job-long", remaining_seconds=101.0)),
        [],
    ),
    Case(
        "nor who does not say when it ends",
        (busy(), HEAD, job("job-open")),
        [],
    ),
    Case(
        "who takes nothing that the head needs may start, however long it runs",
        (busy(), HEAD, job("job-long", gpus=0, cpus=8.0)),
        ["job-long"],
        nodes=(node("n1", 8, cpus=80.0),),
    ),
    Case(
        "beside it: of 8 GPUs the head needs 6",
        (busy(), job("job-head", gpus=6, at=-900), job("job-long", gpus=2), job("job-more", at=-1)),
        ["job-long"],
    ),
    Case(
        "on another node, too",
        (busy(), job("job-head", gpus=8, at=-900, accelerator="A100"), job("job-long", gpus=2)),
        ["job-long"],
        nodes=(node("n1", 8), node("n2", 2, accelerator="L4")),
    ),
    Case(
        "each in turn: the second short one would hold what the first leaves",
        (
            busy(),
            HEAD,
            job("job-a", gpus=3, at=-50, remaining_seconds=50.0),
            job("job-b", gpus=3, at=-40, remaining_seconds=50.0),
        ),
        ["job-a"],
    ),
    Case(
        "where the running one does not say when it ends it could be any moment: nothing goes in",
        (busy(remaining_seconds=None), HEAD, job("job-short", remaining_seconds=50.0)),
        [],
    ),
    Case(
        "nor where it has outlived its estimate",
        (busy(remaining_seconds=-5.0), HEAD, job("job-short", remaining_seconds=50.0)),
        [],
    ),
    Case(
        "the first of every team has a place, and nobody starts in it",
        (
            busy(),
            HEAD,
            job("job-blue", gpus=4, team="blue", priority=-10, remaining_seconds=999.0),
            job("job-green", gpus=4, team="green", priority=-10, remaining_seconds=100.0),
        ),
        ["job-green"],
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_backfill(case: Case) -> None:
    assert list(started(plan(case.nodes, case.workloads))) == case.start


def test_the_head_is_told_when_and_where_it_is_expected_to_start() -> None:
    decisions = plan((node("n1", 8),), (busy(), HEAD))
    kept = decisions.reservations[0]
    assert (kept.job, kept.starts_at) == ("job-head", NOW + 100)
    assert [(part.node, part.workers) for part in kept.placement] == [("n1", 1)]


def test_the_earliest_place_of_all_is_kept() -> None:
    workloads = (
        running("job-r", "n1", gpus=8, remaining_seconds=500.0),
        running("job-s", "n2", gpus=8, remaining_seconds=90.0),
        HEAD,
    )
    decisions = plan((node("n1"), node("n2")), workloads)
    assert decisions.reservations[0].placement[0].node == "n2"
    assert decisions.reservations[0].starts_at == NOW + 90


def test_a_job_of_another_queue_does_not_delay_the_head_either() -> None:
    workloads = (busy(), HEAD, job("job-side", queue="side", remaining_seconds=500.0))
    assert started(plan((node("n1", 8),), workloads, (queue(), queue("side")))) == {}


def test_a_head_without_a_place_closes_its_nodes_to_its_queue_alone() -> None:
    """More heads than the policy keeps places for."""
    policy = Policy(max_reservations=0)
    workloads = (
        busy(),
        HEAD,
        job("job-same", remaining_seconds=10.0),
        job("job-side", queue="side", remaining_seconds=500.0),
    )
    decisions = plan((node("n1", 8),), workloads, (queue(), queue("side")), policy)
    assert list(started(decisions)) == ["job-side"]
