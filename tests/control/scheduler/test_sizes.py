"""Gangs that may be smaller than they ask to be: when they shrink, to what, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.scheduler import Node, Workload
from orchestrator.records import Queue, WaitReason
from tests.control.scheduler.builders import NOW, job, node, nodes, plan, queue, running, started

ELASTIC: dict[str, Any] = {"fewer": (2, 1)}
PATIENT = {**ELASTIC, "shrinks_at": NOW + 60}
IMPATIENT = {**ELASTIC, "shrinks_at": NOW}


@pytest.mark.parametrize(
    ("says", "where", "workloads", "queues", "workers"),
    [
        ("all of them where there is room", nodes(1, 4), (job("j", 4, **IMPATIENT),), (), 4),
        ("they are waited for", nodes(1, 4), (running("r", "n1"), job("j", 4, **PATIENT)), (), 0),
        (
            "the most that have room, after the patience",
            nodes(1, 4),
            (running("r", "n1"), job("j", 4, **IMPATIENT)),
            (),
            2,
        ),
        (
            "the fewest where no more have room",
            nodes(1, 4),
            (running("r", "n1", workers=3), job("j", 4, **IMPATIENT)),
            (),
            1,
        ),
        ("at once where all never fit", nodes(1, 2), (job("j", 4, **PATIENT),), (), 2),
        (
            "at once where the other node is lost",
            (node("n1", 2), node("n2", 2, is_schedulable=False)),
            (job("j", 4, **PATIENT),),
            (),
            2,
        ),
        (
            "at once where the quota is too small by now",
            nodes(1, 4),
            (job("j", 4, **PATIENT),),
            (queue(quota={"gpu": 1.0}),),
            1,
        ),
        ("never below the fewest", nodes(1, 1), (job("j", 4, fewer=(2,), shrinks_at=NOW),), (), 0),
        (
            "not past an earlier job of its queue that needs the room",
            nodes(1, 4),
            (running("r", "n1", workers=3), job("a", 4, at=-200), job("j", 4, **IMPATIENT)),
            (),
            0,
        ),
    ],
)
def test_how_many_workers_start(
    says: str,
    where: tuple[Node, ...],
    workloads: tuple[Workload, ...],
    queues: tuple[Queue, ...],
    workers: int,
) -> None:
    found = started(plan(where, workloads, queues)).get("j", {})
    assert sum(found.values()) == workers, says


def test_a_smaller_gang_counts_against_the_quota_as_what_it_is() -> None:
    smaller = running("r", "n1", workers=2, fewer=(2, 1))
    other = job("j", 2)
    decisions = plan(nodes(1, 4), (smaller, other), (queue(quota={"gpu": 4.0}),))
    assert started(decisions) == {"j": {"n1": 2}}


@pytest.mark.parametrize(
    ("where", "held", "asked", "message"),
    [
        (
            nodes(1, 4),
            1,
            PATIENT,
            "From 1970-01-12 13:47 UTC on it takes 2 workers, at the least 1.",
        ),
        (
            nodes(1, 4),
            4,
            IMPATIENT,
            "It would take 2 workers, at the least 1 by now, and they have no room either.",
        ),
        (nodes(1, 2), 2, PATIENT, "It waits with 2 workers: its 4 fit nowhere."),
    ],
)
def test_why_it_waits_says_with_how_many(
    where: tuple[Node, ...], held: int, asked: dict[str, Any], message: str
) -> None:
    decisions = plan(where, (running("r", "n1", workers=held), job("j", 4, **asked)))
    *_, last = decisions.waits["j"]
    assert (last.reason, last.message) == (WaitReason.FEWER_WORKERS, message)
