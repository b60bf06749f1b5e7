"""Demands in whole numbers, so that sums are exact and equal demands are worked out once a cycle.

Called by `ledger`, which gives equal demands the same Gang.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import le

from orchestrator.control.scheduler.values import Resources
from orchestrator.records import Demand

MILLI = 1000
"""Cores are counted in thousandths."""

Amount = tuple[int, int, int]
"""Thousandths of a core, bytes of memory, GPUs."""


class Gang:
    """What equal demands have in common: `workers` equal parts. Compared by identity."""

    __slots__ = ("accelerator", "asks", "labels", "part", "point", "total", "workers")

    def __init__(self, demand: Demand) -> None:
        self.workers = demand.workers
        self.part: Amount = (
            round(demand.cpus_per_worker * MILLI),
            demand.memory_bytes_per_worker,
            demand.gpus_per_worker,
        )
        self.total: Amount = times(self.part, self.workers)
        self.point = (self.workers, *self.part)  # for a Frontier
        self.accelerator = demand.accelerator if self.wants_gpus else None
        self.labels: Mapping[str, str] = demand.node_labels
        self.asks = (self.wants_gpus, self.accelerator, tuple(sorted(self.labels.items())))

    @property
    def wants_gpus(self) -> bool:
        return self.part[2] > 0


def amount(resources: Resources) -> Amount:
    return round(resources.cpus * MILLI), resources.memory_bytes, resources.gpus


def times(part: Amount, number: int) -> Amount:
    return part[0] * number, part[1] * number, part[2] * number


def slots(room: Amount, gang: Gang) -> int:
    """How many of the gang's workers a room holds, at most all of them."""
    cpu, memory, gpu = gang.part
    number = gang.workers
    if gpu:
        number = min(number, room[2] // gpu)
    if cpu:
        number = min(number, room[0] // cpu)
    if memory:
        number = min(number, room[1] // memory)
    return max(number, 0)


def fits(total: Amount, room: Amount) -> bool:
    return total[0] <= room[0] and total[1] <= room[1] and total[2] <= room[2]


class Frontier:
    """Points that were found to fail, and so what fails by being at least as large in everything.

    Room only shrinks within a cycle, so a failure holds until its end. Demands that differ in a
    few bytes are thus still worked out together.
    """

    __slots__ = ("_points",)

    def __init__(self) -> None:
        self._points: list[tuple[float, ...]] = []

    def covers(self, point: tuple[float, ...]) -> bool:
        return any(all(map(le, known, point)) for known in self._points)

    def add(self, point: tuple[float, ...]) -> None:
        self._points = [known for known in self._points if not all(map(le, point, known))]
        self._points.append(point)
