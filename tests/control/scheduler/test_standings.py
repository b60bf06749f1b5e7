"""Where waiting jobs stand, as people are told."""

from __future__ import annotations

import time

from orchestrator.control.scheduler import Snapshot, standings
from orchestrator.records import Queue, Wait, WaitReason
from tests.control.scheduler.builders import NOW, job, node, nodes, running

MAIN = (Queue(name="main"),)


def snapshot(*workloads, queues=MAIN, on=None):  # type: ignore[no-untyped-def]
    return Snapshot(now=NOW, nodes=on or nodes(1), queues=tuple(queues), workloads=workloads)


def test_by_priority_then_age() -> None:
    told = standings(
        snapshot(job("old", at=-300), job("young", at=-1), job("urgent", at=0, priority=5))
    )
    assert told == {"urgent": 1, "old": 2, "young": 3}


def test_teams_alternate_by_what_they_would_hold() -> None:
    told = standings(
        snapshot(
            running("r", "n1", team="red"),
            *(job(f"red{n}", at=-300 + n, team="red") for n in range(3)),
            *(job(f"blue{n}", at=-100 + n, team="blue") for n in range(3)),
        )
    )
    # Red holds one GPU already, so blue comes first; of equal shares the older job does.
    assert sorted(told, key=told.__getitem__) == ["blue0", "red0", "blue1", "red1", "blue2", "red2"]


def test_each_queue_has_a_line_of_its_own() -> None:
    queues = (Queue(name="main"), Queue(name="fast"))
    told = standings(
        snapshot(job("a", at=-9), job("b", queue="fast", at=-5), job("c", at=-1), queues=queues)
    )
    assert told == {"a": 1, "b": 1, "c": 2}


def test_who_cannot_start_whatever_becomes_free_stands_in_no_line() -> None:
    blocked = Wait(reason=WaitReason.DEPENDENCY, message="waits for another")
    queues = (Queue(name="main"), Queue(name="shut", is_paused=True))
    told = standings(
        snapshot(
            job("large", gpus=9),
            job("blocked", blocked_by=blocked),
            job("later", eligible_at=NOW + 60),
            job("paused", queue="shut"),
            job("lost", queue="none"),
            job("fine"),
            queues=queues,
        )
    )
    assert told == {"fine": 1}


def test_gpus_of_a_kind_count_by_their_own_quota() -> None:
    queue = Queue(name="main", quota={"gpu/A100": 4, "gpu": 100})
    told = standings(
        snapshot(
            *(job(f"red{n}", at=-300 + n, team="red", accelerator="A100") for n in range(2)),
            job("blue0", at=-1, team="blue", accelerator="A100"),
            queues=(queue,),
            on=(node("n1"),),
        )
    )
    assert told == {"red0": 1, "blue0": 2, "red1": 3}


def test_ten_thousand_stand_in_line_within_a_second() -> None:
    crowd = [job(f"j{n:05}", at=n - 20_000, team=f"t{n % 7}") for n in range(10_000)]
    begun = time.process_time()
    told = standings(snapshot(*crowd))
    assert sorted(told.values()) == list(range(1, 10_001))
    assert time.process_time() - begun < 1.0
