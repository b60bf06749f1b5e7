"""The working copy of a snapshot that one cycle plans on: who holds what of which node.

Nodes that no waiting job can tell apart form a Pool, where they lie in buckets by what is free, so
that the tightest one that will do is found without looking at all. A Variant is the set of pools
that one gang may be spread over: of one backend, since a gang is one Ray job, and of one kind of
GPU, since a gang steps at the pace of its slowest. Called by `cycle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from orchestrator.control.scheduler.accounts import NOTHING, Account, Holding, minus, plus
from orchestrator.control.scheduler.gangs import (
    MILLI,
    Amount,
    Frontier,
    Gang,
    Point,
    amount,
    sorted_items,
    times,
)
from orchestrator.control.scheduler.values import Node, Snapshot, Workload
from orchestrator.records import Demand

Parts = list[tuple["Site", int]]
"""Where a gang goes: sites and the number of its workers on each."""


class Site(Account):
    """A node while a cycle is planned."""

    __slots__ = ("accelerator", "backend", "capacity", "index", "name", "pool")

    def __init__(self, index: int, node: Node) -> None:
        capacity, foreign = amount(node.capacity), amount(node.foreign)
        super().__init__(
            (capacity[0] - foreign[0], capacity[1] - foreign[1], capacity[2] - foreign[2])
        )
        self.index = index
        self.name = node.name
        self.backend = node.backend
        self.capacity = capacity
        self.accelerator = node.accelerator if capacity[2] else None
        self.pool: Pool | None = None

    def hold(self, holding: Holding, *, is_leaving: bool = False) -> None:
        if self.pool is not None:
            self.pool.remove(self)
        super().hold(holding, is_leaving=is_leaving)
        if self.pool is not None:
            self.pool.add(self)

    def end_now(self, job: str, now: float) -> list[Holding]:
        ending = super().end_now(job, now)
        if self.pool is not None:
            for holding in ending:
                self.pool.leaving = plus(self.pool.leaving, holding.amount)
        return ending


class Pool:
    """Nodes that differ in nothing but what is free of them."""

    __slots__ = (
        "accelerator",
        "backend",
        "by_cpu",
        "by_gpu",
        "free",
        "has_gpus",
        "labels",
        "leaving",
    )

    def __init__(self, site: Site, labels: dict[str, str]) -> None:
        self.backend = site.backend
        self.accelerator = site.accelerator
        self.has_gpus = site.capacity[2] > 0
        self.labels = labels
        self.free: Amount = NOTHING  # in all its nodes together
        self.leaving: Amount = NOTHING  # held there by those that are stopping
        self.by_gpu: list[dict[int, Site]] = []  # free GPUs -> index -> site
        self.by_cpu: list[dict[int, Site]] = []  # free whole cores -> index -> site

    def add(self, site: Site) -> None:
        cpu, _, gpu = site.free
        self.free = plus(self.free, _not_below_zero(site.free))
        self.leaving = plus(self.leaving, site.leaving)
        _bucket(self.by_gpu, gpu)[site.index] = site
        _bucket(self.by_cpu, cpu // MILLI)[site.index] = site

    def remove(self, site: Site) -> None:
        cpu, _, gpu = site.free
        self.free = minus(self.free, _not_below_zero(site.free))
        self.leaving = minus(self.leaving, site.leaving)
        del _bucket(self.by_gpu, gpu)[site.index]
        del _bucket(self.by_cpu, cpu // MILLI)[site.index]


def _not_below_zero(free: Amount) -> Amount:
    return max(free[0], 0), max(free[1], 0), max(free[2], 0)


def _bucket(buckets: list[dict[int, Site]], free: int) -> dict[int, Site]:
    """A node that is held beyond its capacity lies where nothing is free."""
    free = max(free, 0)
    while len(buckets) <= free:
        buckets.append({})
    return buckets[free]


class Variant:
    """The pools a gang may be spread over, those to use first in the first tier."""

    __slots__ = (
        "accelerator",
        "backend",
        "fitted",
        "fitted_at",
        "largest",
        "no_room",
        "no_room_soon",
        "no_victims",
        "pools",
        "promised",
        "sites",
        "smallest",
        "tiers",
    )

    def __init__(
        self, backend: str, accelerator: str | None, pools: list[Pool], sites: list[Site]
    ) -> None:
        self.backend = backend
        self.accelerator = accelerator
        self.pools = frozenset(pools)
        without = [pool for pool in pools if not pool.has_gpus]
        with_gpus = [pool for pool in pools if pool.has_gpus]
        self.tiers = tuple(tier for tier in (without, with_gpus) if tier)
        self.sites = sites
        self.smallest = _extreme(min, sites)
        self.largest = _extreme(max, sites)
        # Gangs that would fit, claims apart, when so many jobs had been admitted.
        self.fitted: list[Point] = []
        self.fitted_at = 0
        # Gangs that failed in this cycle.
        self.no_room = Frontier()  # even if nothing were claimed
        self.promised = Frontier()  # because of claims
        self.no_room_soon = Frontier()  # with those gone that are stopping, too
        self.no_victims = Frontier()  # with all gone that may give way

    def free(self) -> Amount:
        """On all its nodes together."""
        found: Amount = NOTHING
        for pool in self.pools:
            found = plus(found, pool.free)
        return found

    def free_soon(self) -> Amount:
        """The same once those that are stopping have stopped."""
        found = self.free()
        for pool in self.pools:
            found = plus(found, pool.leaving)
        return found


def _extreme(choose: Callable[[Iterable[int]], int], sites: Sequence[Site]) -> tuple[int, int, int]:
    """Of each amount by itself, over the capacities of some sites."""
    cpus, memory, gpus = zip(*(site.capacity for site in sites), strict=True)
    return choose(cpus), choose(memory), choose(gpus)


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """Nodes that a gang may be spread over, and the quota that it would count against there."""

    variant: Variant
    accounts: tuple[Account, ...]  # the queue's, and that of the kind of GPU where there is one


class Seeker(NamedTuple):
    """A job whose turn it is to look for a place."""

    workload: Workload
    gang: Gang
    options: tuple[Option, ...]
    run_seconds: float  # infinite where nobody knows
    ends_at: float  # if it started now

    @property
    def job(self) -> str:
        return self.workload.job


class Ledger:
    """All nodes, and the gangs that wait for them or hold parts of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.now = snapshot.now
        self.gangs: dict[tuple[object, ...], Gang] = {}
        self.sites: dict[tuple[str, str], Site] = {}
        self.drained: list[tuple[Site, Node]] = []
        self.holders: dict[str, tuple[Workload, Gang]] = {}
        self.stopping: set[str] = set()
        self.lowest_priority = inf  # of those that hold something and are not stopping
        self.stopping_sites: dict[Site, None] = {}  # in order, each once
        self._open: list[tuple[Site, Node]] = []
        self._pools: list[Pool] = []
        self._pooled: dict[Pool, list[Site]] = {}
        self._variants: dict[tuple[object, ...], tuple[Variant, ...]] = {}
        for index, node in enumerate(snapshot.nodes):
            site = Site(index, node)
            self.sites[node.backend, node.name] = site
            (self._open if node.is_schedulable else self.drained).append((site, node))

    def gang(self, demand: Demand) -> Gang:
        """Equal demands get the same one."""
        labels = demand.node_labels
        key = (
            demand.workers,
            demand.cpus_per_worker,
            demand.memory_bytes_per_worker,
            demand.gpus_per_worker,
            demand.accelerator,
            sorted_items(labels) if labels else None,
        )
        gang = self.gangs.get(key)
        if gang is None:
            gang = self.gangs[key] = Gang(demand)
        return gang

    def place(self, workload: Workload, gang: Gang, ends_at: float, soonest: float) -> None:
        """Enters what a workload of the snapshot holds; before `form_pools`."""
        self.holders[workload.job] = workload, gang
        if workload.is_stopping:
            self.stopping.add(workload.job)
        else:
            self.lowest_priority = min(self.lowest_priority, workload.priority)
        for placed in workload.placement:
            site = self.sites.get((placed.backend, placed.node))
            if site is None:
                continue  # the node is gone; the controller will find out about the gang
            held = times(gang.part, placed.workers)
            holding = Holding(workload.job, held, ends_at, soonest)
            site.hold(holding, is_leaving=workload.is_stopping)
            if workload.is_stopping:
                self.stopping_sites[site] = None

    def held_by(self, workload: Workload, gang: Gang) -> dict[Site, Amount]:
        """What it takes of the nodes it stands on, as far as they are still there."""
        held: dict[Site, Amount] = {}
        for placed in workload.placement:
            site = self.sites.get((placed.backend, placed.node))
            if site is not None:
                held[site] = plus(held.get(site, NOTHING), times(gang.part, placed.workers))
        return held

    def kind_of(self, workload: Workload, gang: Gang) -> str | None:
        """The kind of GPU a workload holds."""
        if not gang.wants_gpus:
            return None
        for placed in workload.placement:
            site = self.sites.get((placed.backend, placed.node))
            if site is not None:
                return site.accelerator
        return gang.accelerator

    def stop(self, job: str, sites: Iterable[Site]) -> None:
        """A workload that stands on these sites begins to stop."""
        self.stopping.add(job)
        self.stopping_sites.update(dict.fromkeys(sites))
        for variants in self._variants.values():
            for variant in variants:
                variant.no_room_soon = Frontier()  # the one thing that grows within a cycle

    def form_pools(self, waiting: Iterable[Gang]) -> None:
        """Sorts the nodes by what waiting gangs ask of them; after all that is held is entered."""
        asked = sorted({name for gang in waiting for name in gang.labels})
        pools: dict[tuple[object, ...], Pool] = {}
        for site, node in self._open:
            labels = {name: node.labels[name] for name in asked if name in node.labels}
            has_gpus = site.capacity[2] > 0
            key = (site.backend, site.accelerator, has_gpus, tuple(labels.items()))
            pool = pools.get(key)
            if pool is None:
                pool = pools[key] = Pool(site, labels)
            site.pool = pool
            pool.add(site)
            self._pooled.setdefault(pool, []).append(site)
        self._pools = list(pools.values())

    def variants(self, gang: Gang) -> tuple[Variant, ...]:
        """Where it may be spread over, in the order of the nodes; each of some nodes at least."""
        found = self._variants.get(gang.asks)
        if found is None:
            found = self._variants[gang.asks] = tuple(self._make_variants(gang))
        return found

    def _make_variants(self, gang: Gang) -> Iterator[Variant]:
        wants_gpus = gang.wants_gpus
        groups: dict[tuple[str, str | None], list[Pool]] = {}
        for pool in self._pools:
            if wants_gpus and not pool.has_gpus:
                continue
            if gang.accelerator is not None and pool.accelerator != gang.accelerator:
                continue
            if any(pool.labels.get(name) != value for name, value in gang.labels.items()):
                continue
            kind = pool.accelerator if wants_gpus else None
            groups.setdefault((pool.backend, kind), []).append(pool)
        for (backend, kind), pools in groups.items():
            sites = [site for pool in pools for site in self._pooled[pool]]
            yield Variant(backend, kind, pools, sites)


def ends_of(workload: Workload, now: float) -> tuple[float, float]:
    """When it ends as far as known, and at the earliest. What outlived its estimate has none."""
    if workload.is_stopping:
        return now, now
    remaining = workload.remaining_seconds
    if remaining is None or remaining <= 0:
        return inf, now
    return now + remaining, now + remaining
