"""What the service promises about a cluster of several nodes, each shown by making it go wrong.

Each takes a rig that is whole and leaves it whole. They raise AssertionError with the job's story.
"""

from __future__ import annotations

import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from orchestrator.interfaces.client.handle import JobHandle
from orchestrator.records import JobState, Reason
from orchestrator.records.ids import submission_id
from tests.control.cluster.ray_nodes import command_line
from tests.control.cluster.rig import INTERVAL, SERVER, Rig

SHORT: dict[str, Any] = {"training": {"max_steps": 4}, "selection": {"every_steps": 4}}


def expect(is_so: object, what: str, rig: Rig, job: JobHandle) -> None:
    assert is_so, f"{what}\n{rig.story(job)}"


def reference(rig: Rig) -> str:
    """The weights of a run that is looked at, and that nobody disturbs."""
    job = rig.submit("reference")
    rig.until_step(job, 2)
    look_at(rig, job)
    rig.succeeded(job)
    expect(len(job.attempts()) == 1, "one attempt", rig, job)
    expect(b"".join(job.logs(rank=1)), "its log is kept", rig, job)
    rig.nothing_left()
    return rig.weights(job)


def look_at(rig: Rig, job: JobHandle) -> None:
    """Logs and stacks of ranks on several nodes, while they run."""
    logs = {rank: b"".join(job.logs(rank=rank)) for rank in (0, 1, None)}
    for rank, log in logs.items():
        expect(len(log) > 100, f"rank {rank} has a log", rig, job)
    expect(logs[0] != logs[1], "each rank has its own", rig, job)
    stacks = job.stacks(60).ranks
    expect(set(stacks) == {0, 1}, f"stacks of {set(stacks)}", rig, job)
    expect(all("trainer.py" in text for text in stacks.values()), "of training", rig, job)


def same_weights(rig: Rig, job: JobHandle, weights: str) -> None:
    rig.succeeded(job)
    expect(rig.weights(job) == weights, "the weights of an uninterrupted run", rig, job)


# Something dies


def node_and_server_die(rig: Rig, weights: str, chance: random.Random) -> str:
    """kill -9 of everything on a worker's node, and of the server, each at a random moment."""
    job = rig.submit("survivor")
    rig.until_step(job, chance.randrange(2, 20))
    victim = _worker_node(rig, job)
    time.sleep(chance.uniform(0, 2))
    moments = [("node", chance.uniform(0, 5)), ("server", chance.uniform(0, 5))]
    begin = time.monotonic()
    for what, moment in sorted(moments, key=lambda found: found[1]):
        time.sleep(max(0.0, begin + moment - time.monotonic()))
        if what == "node":
            rig.network.machines[victim].kill()
        else:
            rig.kill_server()
    time.sleep(chance.uniform(0, 5))
    rig.start_server()
    same_weights(rig, job, weights)
    first, *others = job.attempts()
    reasons = [event.reason for event in job.events()]
    text = ", ".join(f"{what} after {moment:.1f} s" for what, moment in moments)
    if others:  # else it was done before the node died
        expect(len(others) == 1, "one retry is enough", rig, job)
        lost = first.outcome
        expect(lost and lost.reason is Reason.NODE_LOST, "the node was seen as lost", rig, job)
        used = {part.node for part in others[0].placement}
        expect(victim not in used, "the spare node was used", rig, job)
    expect(Reason.UNKNOWN not in reasons, "nothing is unexplained", rig, job)
    rig.ray.start_node(rig.network.machines[victim])
    rig.ray.wait_alive(3)
    rig.nothing_left()
    return f"{victim} killed: {text}; {len(others)} retries\n{rig.story(job)}"


def rank_and_driver_die(rig: Rig, weights: str) -> str:
    """kill -9 of one rank, and of the next attempt's driver: each costs one attempt."""
    job = rig.submit("killed")
    rig.until_step(job, 5)
    os.kill(_rank_pids(rig, job)[1], signal.SIGKILL)
    rig.until_step(job, 7, attempt=2)
    os.kill(_driver_pid(rig, job), signal.SIGKILL)
    same_weights(rig, job, weights)
    reasons = [a.outcome.reason if a.outcome else None for a in job.attempts()]
    lost = Reason.WORKER_LOST
    expect(reasons == [lost, lost, Reason.COMPLETED], f"reasons are {reasons}", rig, job)
    rig.nothing_left()
    return rig.story(job)


def store_dies(rig: Rig, weights: str, seconds: float = 30.0) -> str:
    """The object store's process is killed for a while: whoever needs it waits."""
    job = rig.submit("patient")
    rig.until_step(job, 3)
    rig.store.kill()
    time.sleep(seconds)
    rig.store.start()
    same_weights(rig, job, weights)
    expect(len(job.attempts()) == 1, "nothing was restarted", rig, job)
    rig.nothing_left()
    return rig.story(job)


# Nobody dies


def partition(rig: Rig, seconds: float = 65.0) -> str:
    """Server and cluster do not reach each other: a healthy job is not restarted for that."""
    job = rig.submit("healthy", training={"max_steps": 1000})
    rig.until_step(job, 3)
    rig.network.machines[SERVER].unplug()
    time.sleep(seconds)
    before = _newest_step(rig, job)
    rig.network.machines[SERVER].plug()
    rig.until_step(job, before + 20)
    expect(len(job.attempts()) == 1, "nothing was restarted", rig, job)
    steps = {point.step for point in job.history().points}  # the newest of each report
    unheard = {step for step in steps if before < step}
    expect(len(unheard) > 1, f"reports of {sorted(steps)} came", rig, job)
    told = cancelled(rig, job)
    return f"step {before} was the last that was heard of\n{told}"


def queue_in_order(rig: Rig) -> str:
    """Two nodes each, of three: one after the other, in the order they came."""
    jobs = [rig.submit(f"queued-{letter}", **SHORT) for letter in "abc"]
    for job in jobs[1:]:
        rig.until(job, lambda job: bool(job.job.waits), 60)
    waits = [job.refresh().waits[0].message for job in jobs[1:]]
    for job in jobs:
        rig.succeeded(job)
    spans = [(job.attempts()[0].created_at, job.attempts()[0].ended_at or 0.0) for job in jobs]
    for before, after in pairwise(spans):
        assert before[1] <= after[0], f"two at once: {spans}"
    rig.nothing_left()
    return "\n".join(waits)


def preemption(rig: Rig, weights: str) -> str:
    """A more important job gets the nodes; the victim saves, and goes on where it saved."""
    victim = rig.submit("victim", scheduling={"priority": "low"})
    rig.until_step(victim, 7)
    urgent = rig.succeeded(rig.submit("urgent", scheduling={"priority": "high"}, **SHORT))
    same_weights(rig, victim, weights)
    first, second = victim.attempts()
    expect(first.outcome and first.step, "it told how it ended", rig, victim)
    resumed = second.outcome.resumed_from_step if second.outcome else None
    assert resumed is not None
    assert first.step is not None
    lost = first.step - resumed
    expect(0 <= lost <= INTERVAL, f"{lost} steps were lost", rig, victim)
    expect(not victim.job.failures, "no retry was counted", rig, victim)
    expect(urgent.attempts()[0].created_at >= (first.ended_at or 0), "never both", rig, victim)
    rig.nothing_left()
    return f"stopped at step {first.step}, resumed from {resumed}\n{rig.story(victim)}"


def hang(rig: Rig, weights: str) -> str:
    """A rank that is stopped: stacks of those that answer, then another attempt."""
    job = rig.submit("hanging", scheduling={"hang_seconds": 15})
    rig.until_step(job, 7)
    os.kill(_rank_pids(rig, job)[1], signal.SIGSTOP)
    rig.until(job, lambda job: job.job.attempt == 2, 300)
    stacks = [event for event in job.events() if event.kind == "StacksRequested"]
    expect(stacks, "stacks were asked for", rig, job)
    kept = rig.stacks_of(job, 1)
    expect(0 in kept, "the rank that answers left its stacks", rig, job)
    same_weights(rig, job, weights)
    expect(len(job.attempts()) == 2, "one retry is enough", rig, job)
    expect(Reason.HANG in job.job.failures, "it was seen as a hang", rig, job)
    rig.nothing_left()
    return f"{kept[0][-400:]}\n{rig.story(job)}"


def cancel_while_running(rig: Rig) -> str:
    """It saves, and nothing of it is left."""
    job = rig.submit("unwanted")
    rig.until_step(job, 2)
    told = cancelled(rig, job)
    expect("a checkpoint is saved" in job.job.message, "it saved", rig, job)
    return told


def cancelled(rig: Rig, job: JobHandle) -> str:
    """Ends a job; nothing of it is left."""
    begin = time.monotonic()
    job.cancel()
    rig.ended(job, 120)
    expect(job.state is JobState.CANCELLED, "cancelled", rig, job)
    seconds = time.monotonic() - begin
    rig.nothing_left()
    return f"cancelled in {seconds:.1f} s\n{rig.story(job)}"


def cancel_while_starting(rig: Rig, delays: tuple[float, ...] = (0.5, 4.0, 12.0)) -> str:
    """Before the driver is up, while the gang forms, while it imports."""
    told = []
    for delay in delays:
        job = rig.submit("hasty")
        rig.until(job, lambda job: job.state in (JobState.STARTING, JobState.RUNNING), 60)
        time.sleep(delay)
        told.append(cancelled(rig, job))
    return "\n".join(told)


def other_version(rig: Rig) -> str:
    """A server of another version than the cluster's package: refused, with what to install."""
    rig.kill_server()
    rig.start_server(version="9.9.9")
    told = []
    try:
        told.append(_refused(rig, "'finetune-orchestrator[worker]==9.9.9'"))
    finally:
        rig.kill_server()
    rig.write_settings(python="/usr/bin/python3")
    rig.start_server()
    try:
        told.append(_refused(rig, "uv pip install 'finetune-orchestrator[worker]=="))
    finally:
        rig.kill_server()
        rig.write_settings()
        rig.start_server()
    rig.nothing_left()
    return "\n".join(told)


def _refused(rig: Rig, remedy: str) -> str:
    job = rig.ended(rig.submit("mismatched"))
    expect(job.state is JobState.FAILED, "refused", rig, job)
    expect(job.job.reason is Reason.VERSION_MISMATCH, "for its version", rig, job)
    outcome = job.attempts()[0].outcome
    expect(outcome and remedy in (outcome.hint or ""), "with what to install", rig, job)
    return rig.story(job)


# Who is who


def _worker_node(rig: Rig, job: JobHandle) -> str:
    """A node of the gang that is not the cluster's head: with the head, the cluster is gone."""
    attempt = rig.attempt(job)
    assert attempt is not None
    names = [part.node for part in attempt.placement]
    return next(name for name in names if name != rig.ray.head.name)


def _newest_step(rig: Rig, job: JobHandle) -> int:
    attempt = rig.attempt(job)
    return (attempt.step or 0) if attempt else 0


def _rank_pids(rig: Rig, job: JobHandle) -> dict[int, int]:
    """rank -> its process."""
    ranks = {
        (0 if _is_first(pid) else 1): pid
        for machine in rig.ray.machines
        for pid in machine.pids()
        if command_line(pid).startswith("ray::RayTrainWorker")
    }
    expect(sorted(ranks) == [0, 1], f"ranks are {ranks}", rig, job)
    return ranks


def _is_first(pid: int) -> bool:
    """The first rank's log says where the group meets."""
    return b"rank=0, world_size" in Path(f"/proc/{pid}/fd/2").read_bytes()


def _driver_pid(rig: Rig, job: JobHandle) -> int:
    attempt = rig.attempt(job)
    assert attempt is not None
    name = f"/a{attempt.number}/"
    for pid in rig.ray.head.pids():
        line = command_line(pid)
        if "orchestrator.worker.training.main" in line and job.id in line and name in line:
            return pid
    raise AssertionError(f"no driver of {submission_id(job.id, attempt.number)}")
