"""Who gives way to whom, and who does not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from orchestrator.control.scheduler import Node, Policy, Workload
from orchestrator.records import Queue, WaitReason
from tests.control.scheduler.builders import (
    NOW,
    job,
    node,
    nodes,
    plan,
    preempted,
    queue,
    reasons,
    running,
    started,
)


@dataclass(frozen=True)
class Case:
    says: str
    workloads: tuple[Workload, ...]
    give_way: dict[str, str]  # victim -> for whom
    nodes: tuple[Node, ...] = (node("n1", 8),)
    queues: tuple[Queue, ...] = ()
    policy: Policy = field(default_factory=Policy)


def held(name: str, gpus: int = 4, **said: object) -> Workload:
    return running(name, "n1", gpus=gpus, **said)


URGENT = job("job-x", gpus=4, priority=10)

WHO = (
    Case("one of lower priority", (held("job-r", 8), URGENT), {"job-r": "job-x"}),
    Case("none of the same", (held("job-r", 8, priority=10), URGENT), {}),
    Case("none of a higher one", (held("job-r", 8, priority=20), URGENT), {}),
    Case("none where there is room", (held("job-r", 4), URGENT), {}),
    Case(
        "nobody in vain",
        (held("job-r", 4), held("job-s", 4, priority=10), job("job-x", gpus=8, priority=10)),
        {},
    ),
    Case(
        "none of a queue that forbids it",
        (held("job-r", 8, queue="safe"), URGENT),
        {},
        queues=(queue(), queue("safe", allows_preemption=False)),
    ),
    Case(
        "nobody where the operator forbids it",
        (held("job-r", 8), URGENT),
        {},
        policy=Policy(allows_preemption=False),
    ),
    Case(
        "nobody twice within the cooldown",
        (held("job-r", 8, preempted_at=NOW - 899), URGENT),
        {},
    ),
    Case(
        "again after the cooldown",
        (held("job-r", 8, preempted_at=NOW - 900), URGENT),
        {"job-r": "job-x"},
    ),
    Case(
        "only who stands where it may go",
        (
            running("job-r", "n1", gpus=8),
            running("job-s", "n2", gpus=8),
            job("job-x", gpus=4, priority=10, accelerator="H100"),
        ),
        {"job-s": "job-x"},
        nodes=(node("n1"), node("n2", accelerator="H100")),
    ),
    Case(
        "who holds the quota of its queue, on whatever node",
        (
            running("job-r", "n1", gpus=4, queue="main"),
            job("job-x", gpus=4, priority=10, queue="main"),
        ),
        {"job-r": "job-x"},
        queues=(queue(quota={"gpu": 4}),),
    ),
    Case(
        "nobody of another queue for the sake of a quota",
        (
            running("job-r", "n1", gpus=4, queue="side"),
            running("job-s", "n1", gpus=4, queue="main", priority=10),
            job("job-x", gpus=4, priority=10, queue="main"),
        ),
        {},
        nodes=(node("n1", 16),),
        queues=(queue(quota={"gpu": 4}), queue("side")),
    ),
    Case(
        "nobody for one that waits behind another of its team that waits in vain",
        (
            held("job-r", 4),
            held("job-s", 4, priority=20),
            job("job-large", gpus=8, priority=10, at=-900),
            job("job-small", gpus=4, priority=10, at=-1),
        ),
        {},
    ),
)

LEAST_LOST = (
    Case(
        "who saved last: time since the newest checkpoint counts, not since the start",
        (
            held("job-old", started_at=NOW - 9000, checkpointed_at=NOW - 10),
            held("job-new", started_at=NOW - 500),
            URGENT,
        ),
        {"job-old": "job-x"},
    ),
    Case(
        "times its workers: 2 x 300 s are more than 500 s",
        (
            running("job-wide", {"n1": 2}, gpus=2, started_at=NOW - 300),
            held("job-one", started_at=NOW - 500),
            URGENT,
        ),
        {"job-one": "job-x"},
    ),
    Case(
        "two small ones where each alone is not enough",
        (
            held("job-r", 2, started_at=NOW - 10),
            held("job-s", 2, started_at=NOW - 20),
            held("job-t", 4, started_at=NOW - 900),
            URGENT,
        ),
        {"job-r": "job-x", "job-s": "job-x"},
    ),
    Case(
        "nobody needlessly: who was asked first is spared if the next one is enough",
        (
            held("job-r", 2, started_at=NOW - 10),
            held("job-s", 6, started_at=NOW - 20),
            URGENT,
        ),
        {"job-s": "job-x"},
    ),
    Case(
        "the lower priority, then the younger, where as much is lost",
        (
            held("job-r", priority=5, started_at=NOW),
            held("job-s", priority=0, started_at=NOW),
            URGENT,
        ),
        {"job-s": "job-x"},
    ),
)


@pytest.mark.parametrize("case", [*WHO, *LEAST_LOST], ids=lambda case: case.says)
def test_preemption(case: Case) -> None:
    decisions = plan(case.nodes, case.workloads, case.queues, case.policy)
    assert preempted(decisions) == case.give_way
    assert started(decisions).keys().isdisjoint(case.give_way.values()), "its victims save first"


def test_the_victim_is_told_for_whom_and_what_it_loses() -> None:
    decisions = plan((node("n1", 8),), (held("job-r", 8, started_at=NOW - 70), URGENT))
    assert decisions.preemptions[0].reason == (
        "Gives way to job-x of priority 10, above its own 0; 70 worker-seconds are not yet in a "
        "checkpoint."
    )


def test_while_victims_save_nobody_else_is_asked_and_their_place_is_kept() -> None:
    workloads = (
        held("job-r", 8, is_stopping=True),
        URGENT,
        job("job-y", gpus=8, at=-900),  # older, less important
    )
    decisions = plan((node("n1", 8),), workloads)
    assert preempted(decisions) == {}
    assert reasons(decisions)["job-x"] == [WaitReason.PREEMPTING]
    assert next((kept.job, kept.placement[0].node) for kept in decisions.reservations) == (
        "job-x",
        "n1",
    )


def test_the_place_of_victims_goes_to_whom_they_gave_way() -> None:
    """They are gone, one of them back in line with its old age: no ping-pong."""
    workloads = (job("job-r", gpus=8, at=-9000, preempted_at=NOW - 30), URGENT)
    decisions = plan((node("n1", 8),), workloads)
    assert started(decisions) == {"job-x": {"n1": 1}}
    assert preempted(decisions) == {}


def test_several_of_a_team_may_each_ask_as_long_as_none_waits_in_vain() -> None:
    workloads = (
        *(running(f"job-r{n}", f"n{n}", gpus=8) for n in (1, 2)),
        *(job(f"job-x{n}", gpus=8, priority=10, at=n) for n in (1, 2)),
    )
    decisions = plan(nodes(2), workloads)
    assert sorted(preempted(decisions)) == ["job-r1", "job-r2"]
    assert sorted(preempted(decisions).values()) == ["job-x1", "job-x2"]
