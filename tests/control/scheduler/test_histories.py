"""What holds whatever happens: random histories of a small cluster.

They are always the same ones, unless `SCHEDULER_HISTORIES` asks for so many others.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.control.scheduler import Policy
from orchestrator.records import Demand, Queue, Wait, WaitReason
from tests.control.scheduler.builders import GB, node
from tests.control.scheduler.world import Job, World

MORE = os.environ.get("SCHEDULER_HISTORIES")

HISTORIES = settings(
    derandomize=MORE is None,
    deadline=None,
    database=None,
    print_blob=MORE is not None,
    max_examples=int(MORE or 100),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TEAMS = ("red", "blue", "green")
QUEUES = ("main", "side")

nodes = st.builds(
    node,
    name=st.integers(1, 6).map(lambda number: f"n{number}"),
    gpus=st.sampled_from((4, 4, 4, 2, 0)),
    cpus=st.sampled_from((8.0, 4.0)),
    memory_gb=st.just(32),
    accelerator=st.sampled_from(("A100", "A100", "H100")),
    backend=st.sampled_from(("ray-a", "ray-a", "ray-b")),
    labels=st.sampled_from(({"zone": "a"}, {})),
)
queues = st.fixed_dictionaries(
    {
        "quota": st.dictionaries(
            st.sampled_from(("cpu", "gpu", "gpu/A100", "memory_bytes")),
            st.integers(4, 10).map(float),
            max_size=1,
        ).map(lambda quota: _in_bytes(quota)),
        "weights": st.dictionaries(st.sampled_from(TEAMS), st.sampled_from((0.5, 1.0, 3.0))),
        "allows_preemption": st.sampled_from((True, True, True, False)),
    }
)
policies = st.builds(
    Policy,
    allows_preemption=st.sampled_from((True, True, True, True, False)),
    preemption_cooldown_seconds=st.sampled_from((0.0, 100.0)),
    max_reservations=st.sampled_from((64, 64, 1, 0)),
)
demands = st.builds(
    Demand,
    workers=st.sampled_from((1, 2, 2, 3, 4, 4, 6)),
    cpus_per_worker=st.sampled_from((1.0, 1.0, 0.5, 3.0)),
    gpus_per_worker=st.sampled_from((1, 1, 1, 2, 0)),
    memory_bytes_per_worker=st.sampled_from((GB, GB, 0, 9 * GB)),
    accelerator=st.sampled_from((None, None, None, None, None, "A100", "H100")),
    node_labels=st.sampled_from(({}, {}, {}, {}, {}, {"zone": "a"})),
    fewer=st.sampled_from(((), (), (3, 2, 1), (2,))),
    patience_seconds=st.sampled_from((0.0, 50.0, 300.0)),
).map(lambda demand: _fewer_than_all(demand))
arrivals = st.fixed_dictionaries(
    {
        "team": st.sampled_from(TEAMS),
        "queue": st.sampled_from(QUEUES),
        "priority": st.sampled_from((0, 0, 5, 10)),
        "demand": demands,
        "run_seconds": st.sampled_from((400.0, 100.0, 30.0)),
        "estimate": st.sampled_from((None, 0.5, 1.0, 2.0)),  # times the truth
    }
)
numbers = st.integers(0, 10)
submissions = st.tuples(st.just("submit"), st.lists(arrivals, min_size=1, max_size=4))
passings = st.tuples(st.just("advance"), st.sampled_from((1.0, 40.0, 150.0)))
happenings = st.one_of(
    submissions,
    submissions,
    passings,
    passings,
    st.tuples(st.sampled_from(("fail", "cancel", "block", "lose", "cordon", "pause")), numbers),
    st.tuples(st.just("add"), nodes),
)
worlds = st.builds(
    lambda nodes, main, side, policy: World(
        nodes, (Queue(name="main", **main), Queue(name="side", **side)), policy
    ),
    st.lists(nodes, min_size=3, max_size=5, unique_by=lambda node: node.name),
    queues,
    queues,
    policies,
)
histories = st.lists(happenings, min_size=15, max_size=40)


def _fewer_than_all(demand: Demand) -> Demand:
    fewer = tuple(size for size in demand.fewer if size < demand.workers)
    return demand.model_copy(update={"fewer": fewer})


def _in_bytes(quota: dict[str, float]) -> dict[str, float]:
    return {
        name: amount * 8 * GB if name == "memory_bytes" else amount
        for name, amount in quota.items()
    }


def happen(world: World, what: str, how: Any) -> None:
    """Lets one thing happen; nothing where there is nothing for it to happen to."""
    if what == "submit":
        for arrival in how:
            world.submit(new_job(world, **arrival))
    elif what == "advance":
        world.advance(how)
    elif what == "add":
        world.nodes.setdefault(how.name, how)
    elif what == "pause":
        name = QUEUES[how % len(QUEUES)]
        world.pause(name, is_paused=not world.queues[name].is_paused)
    elif what in ("lose", "cordon"):
        names = sorted(world.nodes)
        if names and what == "lose":
            world.lose_node(names[how % len(names)])
        elif names:
            name = names[how % len(names)]
            world.change_node(name, is_schedulable=not world.nodes[name].is_schedulable)
    else:
        happen_to_job(world, what, how)


def happen_to_job(world: World, what: str, number: int) -> None:
    holds = what == "fail"
    jobs = [
        job
        for job in world.jobs.values()
        if job.ended_as is None and (not holds or (job.placement and job.stops_at is None))
    ]
    if not jobs:
        return
    job = jobs[number % len(jobs)]
    if what == "fail":
        world.fail(job)
    elif what == "cancel":
        world.cancel(job)
    elif job.is_waiting:
        job.blocked_by = Wait(
            reason=WaitReason.DEPENDENCY, message="job-x runs.", remedy="It ends."
        )


def new_job(world: World, estimate: float | None, **fields: Any) -> Job:
    return Job(
        id=f"job-{len(world.jobs):03}",
        queued_at=world.now,
        says_seconds=None if estimate is None else fields["run_seconds"] * estimate,
        **fields,
    )


@pytest.mark.timeout(3600)
@HISTORIES
@given(worlds, histories)
def test_promises_hold_in_every_cycle(world: World, history: list[tuple[str, Any]]) -> None:
    """World.cycle checks them: capacity, quota, whole gangs, nobody lost or doubled, reasons."""
    for what, how in history:
        happen(world, what, how)
        world.cycle()


@pytest.mark.timeout(3600)
@HISTORIES
@given(worlds, histories)
def test_every_job_that_can_start_does_once_arrivals_stop(
    world: World, history: list[tuple[str, Any]]
) -> None:
    for what, how in history:
        happen(world, what, how)
        world.cycle()
    world.drain()
    for job in world.jobs.values():
        assert (job.ended_as is not None) or not world.could_ever_start(job), job


@pytest.mark.timeout(3600)
@HISTORIES
@given(worlds, st.lists(st.one_of(submissions, passings), min_size=10, max_size=30))
def test_nobody_gives_way_in_vain(world: World, history: list[tuple[str, Any]]) -> None:
    """Whoever gives way twice did so the first time for a job that started. No pair takes turns."""
    for what, how in history:
        happen(world, what, how)
        world.cycle()
    world.drain()
    jobs = world.jobs
    for job in jobs.values():
        assert not any(job.id in jobs[other].gave_way_to for other in job.gave_way_to)
        more_important = [
            time
            for other in jobs.values()
            if other.priority > job.priority
            for time in other.starts
        ]
        for before, after in pairwise(job.gave_way_at):
            assert any(before < time <= after for time in more_important), job
