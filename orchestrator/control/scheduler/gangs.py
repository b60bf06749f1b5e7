"""Demands in whole numbers, so that sums are exact and equal demands are worked out once a cycle.

Called by `ledger`, which gives equal demands the same Gang.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from orchestrator.control.scheduler.values import Resources
from orchestrator.records import Demand

MILLI = 1000
"""Cores are counted in thousandths."""

Amount = tuple[int, int, int]
"""Thousandths of a core, bytes of memory, GPUs."""


Point = tuple[int, int, int, int]
"""What a gang asks for: its workers, and the three amounts of each."""


class Gang:
    """What equal demands have in common: `workers` equal parts. Compared by identity."""

    __slots__ = ("accelerator", "asks", "labels", "part", "point", "total", "wants_gpus", "workers")

    def __init__(self, demand: Demand) -> None:
        self.workers = workers = demand.workers
        cpu = round(demand.cpus_per_worker * MILLI)
        memory, gpu = demand.memory_bytes_per_worker, demand.gpus_per_worker
        self.part: Amount = (cpu, memory, gpu)
        self.total: Amount = (cpu * workers, memory * workers, gpu * workers)
        self.point: Point = (workers, cpu, memory, gpu)  # for a Frontier
        self.wants_gpus = gpu > 0
        self.accelerator = demand.accelerator if gpu else None
        self.labels: Mapping[str, str] = demand.node_labels
        self.asks = (self.wants_gpus, self.accelerator, sorted_items(self.labels))


def sorted_items(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items())) if labels else ()


def amount(resources: Resources) -> Amount:
    return round(resources.cpus * MILLI), resources.memory_bytes, resources.gpus


def times(part: Amount, number: int) -> Amount:
    return part[0] * number, part[1] * number, part[2] * number


def slots(room: Amount, gang: Gang) -> int:
    """How many of the gang's workers a room holds, at most all of them."""
    cpu, memory, gpu = gang.part
    number = gang.workers
    if gpu and room[2] < gpu * number:
        number = room[2] // gpu
    if cpu and room[0] < cpu * number:
        number = room[0] // cpu
    if memory and room[1] < memory * number:
        number = room[1] // memory
    return number if number > 0 else 0


def fits(total: Amount, room: Amount) -> bool:
    return total[0] <= room[0] and total[1] <= room[1] and total[2] <= room[2]


class Frontier:
    """Points that were found to fail, and so what fails by asking for at least as much.

    A failure counts for gangs that end as late or later, and whose priority is as low or lower.
    Room only shrinks within a cycle, so it holds until its end. Demands that differ in a few bytes
    are thus still worked out together.
    """

    __slots__ = ("_failed",)

    def __init__(self) -> None:
        self._failed: list[tuple[int, int, int, int, float, float]] = []

    def covers(self, point: Point, ends_at: float = inf, priority: float = -inf) -> bool:
        """The defaults ask about failures of any end and any priority."""
        workers, cpu, memory, gpu = point
        for w, c, m, g, end, limit in self._failed:
            if (
                w <= workers
                and c <= cpu
                and m <= memory
                and end <= ends_at
                and g <= gpu
                and priority <= limit
            ):
                return True
        return False

    def add(self, point: Point, ends_at: float = -inf, priority: float = inf) -> None:
        """By default it fails whenever it would end and however important it is."""
        kept = [
            known
            for known in self._failed
            if not (
                point[0] <= known[0]
                and point[1] <= known[1]
                and point[2] <= known[2]
                and point[3] <= known[3]
                and ends_at <= known[4]
                and known[5] <= priority
            )
        ]
        self._failed = [*kept, (*point, ends_at, priority)]
