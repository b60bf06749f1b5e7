"""What a scheduling cycle costs: `python -m benchmarks.scheduler [--cycles 15] [--seed 1]`.

A cluster lives through minutes of arrivals, ends, saves and preemptions under the scheduler's own
decisions, so that it is as full and its queues as mixed as they would be: gangs of 1 to 64 workers
with and without GPUs, of three kinds, no two with the same memory, some without an estimate, of
four priorities and five teams. Timed are cycles once it has filled up, at full size and at a tenth
of it (the baseline); building the snapshot is not the scheduler's and is left out. Printed:

- milliseconds of a cycle on its processor, median and slowest, by size, and of the first one on an
  empty cluster; the goal is 200 at 100 queues, 1,000 nodes and 10,000 waiting jobs;
- the ratio of the medians, and that of n log n over waiting jobs, which it should not exceed;
- what a million additions of the interpreter take in the same run, and the cycle in units of it:
  the figure to compare between machines, busy or not.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

from orchestrator.control.controller.planning import plan
from orchestrator.control.scheduler import (
    Decisions,
    Node,
    Resources,
    Snapshot,
    Workload,
)
from orchestrator.records import Demand, Queue

GB = 10**9
STEP_SECONDS = 60.0
SAVE_SECONDS = 90.0
CHECKPOINT_SECONDS = 1200.0
WARM_UP_CYCLES = 25
KINDS = ("A100", "A100", "H100", "L4")
TEAMS = ("red", "blue", "green", "white", "black")
PRIORITIES = {-10: 0.15, 0: 0.7, 10: 0.12, 20: 0.03}
GANGS = {1: 0.35, 2: 0.15, 4: 0.2, 8: 0.2, 16: 0.07, 32: 0.02, 64: 0.01}


@dataclass(frozen=True, slots=True)
class Size:
    """How large a cluster and its queues are."""

    queues: int
    nodes: int
    waiting: int


FULL = Size(queues=100, nodes=1000, waiting=10_000)
TENTH = Size(queues=10, nodes=100, waiting=1000)


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of the first cycle, and of those on a full cluster."""

    first: float
    warm: list[float]
    running: int
    busy_gpus: float  # share


class Cluster:
    """Jobs that arrive, run as decided, and end when they would."""

    def __init__(self, size: Size, seed: int) -> None:
        self.size = size
        self.random = random.Random(seed)
        self.now = 0.0
        self.number = 0
        self.nodes = tuple(self._node(index) for index in range(size.nodes))
        gpus = sum(node.capacity.gpus for node in self.nodes) / size.queues
        self.queues = tuple(
            Queue(
                name=f"queue-{index}",
                quota={"gpu": round(gpus * self.random.uniform(0.8, 2.5))} if index % 5 else {},
                weights={"red": 2.0},
            )
            for index in range(size.queues)
        )
        self.waiting: dict[str, Workload] = {}
        self.running: dict[str, Workload] = {}
        self.ends_at: dict[str, float] = {}
        self._arrive()

    def _node(self, index: int) -> Node:
        is_cpu_only = index % 10 == 9
        return Node(
            name=f"node-{index}",
            backend=f"ray-{index * 2 // self.size.nodes}",
            capacity=Resources(
                cpus=64 if is_cpu_only else 96,
                memory_bytes=(256 if is_cpu_only else 1024) * GB + self.random.randrange(GB),
                gpus=0 if is_cpu_only else 8,
            ),
            accelerator=None if is_cpu_only else KINDS[index % len(KINDS)],
            labels={"zone": f"zone-{index % 3}", "host": f"node-{index}"},
        )

    def _job(self) -> Workload:
        pick = self.random
        self.number += 1
        has_gpus = pick.random() < 0.85
        workers = pick.choices(list(GANGS), list(GANGS.values()))[0]
        demand = Demand(
            workers=workers,
            gpus_per_worker=1 if has_gpus else 0,
            cpus_per_worker=pick.choice((2, 4, 8)),
            memory_bytes_per_worker=int(pick.uniform(4, 60) * GB),
            accelerator=pick.choice(KINDS) if has_gpus and pick.random() < 0.6 else None,
            node_labels={"zone": "zone-1"} if pick.random() < 0.05 else {},
        )
        return Workload(
            job=f"job-{self.number:08}",
            team=pick.choice(TEAMS),
            queue=f"queue-{min(int(pick.expovariate(3) * self.size.queues), self.size.queues - 1)}",
            priority=pick.choices(list(PRIORITIES), list(PRIORITIES.values()))[0],
            queued_at=self.now + pick.random(),
            demand=demand,
            remaining_seconds=None if pick.random() < 0.1 else pick.uniform(300, 20_000),
            eligible_at=self.now + 300 if pick.random() < 0.01 else None,
        )

    def _arrive(self) -> None:
        while len(self.waiting) < self.size.waiting:
            job = self._job()
            self.waiting[job.job] = job

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now=self.now,
            nodes=self.nodes,
            queues=self.queues,
            workloads=(*self.running.values(), *self.waiting.values()),
        )

    def apply(self, decisions: Decisions) -> None:
        for preempt in decisions.preemptions:
            victim = self.running[preempt.job]
            self.running[preempt.job] = replace(victim, is_stopping=True, preempted_at=self.now)
            self.ends_at[preempt.job] = self.now + SAVE_SECONDS
        for admit in decisions.admissions:
            job = self.waiting.pop(admit.job)
            self.running[admit.job] = replace(job, placement=admit.placement, started_at=self.now)
            says = job.remaining_seconds
            lasts = self.random.uniform(300, 20_000) if says is None else says
            self.ends_at[admit.job] = self.now + lasts * self.random.uniform(0.5, 1.1)

    def step(self) -> None:
        """A minute passes: jobs end, victims are back in line, others arrive, some checkpoint."""
        self.now += STEP_SECONDS
        for name, job in list(self.running.items()):
            if self.ends_at[name] <= self.now:
                del self.running[name], self.ends_at[name]
                if job.is_stopping:
                    back = replace(job, placement=(), is_stopping=False, started_at=None)
                    self.waiting[name] = back
            else:
                self.running[name] = self._trained(job)
        self._arrive()

    def _trained(self, job: Workload) -> Workload:
        assert job.started_at is not None
        saves = (self.now - job.started_at) // CHECKPOINT_SECONDS
        left = job.remaining_seconds
        return replace(
            job,
            checkpointed_at=job.started_at + saves * CHECKPOINT_SECONDS if saves else None,
            remaining_seconds=None if left is None else left - STEP_SECONDS,
        )

    def busy_gpus(self) -> float:
        held = sum(job.demand.workers * job.demand.gpus_per_worker for job in self.running.values())
        return held / sum(node.capacity.gpus for node in self.nodes)


def timed_cycles(cluster: Cluster) -> Iterator[float]:
    """Seconds of one cycle after the other."""
    while True:
        snapshot = cluster.snapshot()
        gc.collect()
        began = time.process_time()  # others on the machine matter less so
        decisions = plan(snapshot)
        yield time.process_time() - began
        cluster.apply(decisions)
        cluster.step()


def measure(size: Size, cycles: int, seed: int) -> Measured:
    cluster = Cluster(size, seed)
    seconds = timed_cycles(cluster)
    first = next(seconds)
    for _ in range(WARM_UP_CYCLES):
        next(seconds)
    warm = [next(seconds) for _ in range(cycles)]
    return Measured(first, warm, len(cluster.running), cluster.busy_gpus())


def million_additions() -> float:
    """Seconds; the best of some tries."""

    def once() -> float:
        began = time.process_time()
        total = 0
        for number in range(1_000_000):
            total += number
        return time.process_time() - began

    return min(once() for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    medians = {}
    for name, size in (("tenth", TENTH), ("full", FULL)):
        measured = measure(size, options.cycles, options.seed)
        medians[name] = median(measured.warm)
        print(
            f"{size.queues} queues, {size.nodes} nodes, {size.waiting} waiting, "
            f"{measured.running} running, {measured.busy_gpus:.0%} of GPUs busy: "
            f"cycle {medians[name] * 1000:.1f} ms, slowest {max(measured.warm) * 1000:.1f} ms; "
            f"first, on an empty cluster, {measured.first * 1000:.1f} ms",
            flush=True,
        )
    allowed = FULL.waiting * math.log(FULL.waiting) / (TENTH.waiting * math.log(TENTH.waiting))
    unit = million_additions()
    print(
        f"a million additions: {unit * 1000:.1f} ms; a full cycle is {medians['full'] / unit:.1f} "
        "times that"
    )
    print(f"ratio {medians['full'] / medians['tenth']:.1f}; of n log n: {allowed:.1f}")


if __name__ == "__main__":
    main()
