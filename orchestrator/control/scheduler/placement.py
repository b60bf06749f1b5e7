"""Where a gang goes: all of it or none, on few nodes, leaving whole nodes to those that need them.

A gang that fits one node gets the tightest one that will do; a larger one fills the roomiest nodes
and puts its rest on the tightest. So a gang is never spread further than it must be, and a small
one never breaks a whole node while a broken one has room. Called by `turns` for places that are
free now, by `backfill` and `preemption` (through `pack`) for places that will be.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from orchestrator.control.scheduler.accounts import plus, room
from orchestrator.control.scheduler.gangs import MILLI, Amount, Gang, fits, slots
from orchestrator.control.scheduler.ledger import Parts, Pool, Site, Variant

NO_POOLS: frozenset[Pool] = frozenset()


def place(
    gang: Gang,
    variant: Variant,
    ends_at: float,
    *,
    avoid: frozenset[str] = frozenset(),
    closed: frozenset[Pool] = NO_POOLS,
) -> Parts | None:
    """A place that is free now and in no claim's way until the gang's end; None: there is none.

    Args:
        gang: What is to be placed.
        variant: The nodes to choose from.
        ends_at: When the gang would end; infinite if nobody knows.
        avoid: Names of nodes that are left out.
        closed: Pools that are left out.
    """
    search = _Search(gang, variant, ends_at, avoid, closed)
    if not search.may_succeed():
        return None
    parts: Parts = []
    remaining = gang.workers
    roomiest = search.roomiest_first()
    while True:
        tight = search.tightest(remaining)
        if tight is not None:
            return [*parts, (tight, remaining)]
        following = next(roomiest, None)
        if following is None:
            return None
        site, number = following
        search.taken.add(site)
        parts.append(following)
        remaining -= number


class _Search:
    """The nodes of a variant, by what is free of them."""

    def __init__(
        self,
        gang: Gang,
        variant: Variant,
        ends_at: float,
        avoid: frozenset[str],
        closed: frozenset[Pool],
    ) -> None:
        self.gang = gang
        self.ends_at = ends_at
        self.avoid = avoid
        self.taken: set[Site] = set()
        self._pools = [[pool for pool in tier if pool not in closed] for tier in variant.tiers]
        self._tiers = [[buckets_for(gang, pool) for pool in tier] for tier in self._pools]

    def may_succeed(self) -> bool:
        """False where all that is free would not be enough, however it lay."""
        free: Amount = (0, 0, 0)
        for tier in self._pools:
            for pool in tier:
                free = plus(free, pool.free)
        return fits(self.gang.total, free)

    def tightest(self, workers: int) -> Site | None:
        """The node with the least room that holds so many workers."""
        least = bucket_of(self.gang, workers)
        for tier in self._tiers:
            for free in range(least, max(map(len, tier), default=0)):
                for buckets in tier:
                    if free < len(buckets):
                        for site in buckets[free].values():
                            if site not in self.taken and self._slots(site) >= workers:
                                return site
        return None

    def roomiest_first(self) -> Iterator[tuple[Site, int]]:
        """Nodes that hold a worker at least, and how many they hold."""
        least = bucket_of(self.gang, 1)
        for tier in self._tiers:
            for free in range(max(map(len, tier), default=0) - 1, least - 1, -1):
                for buckets in tier:
                    if free < len(buckets):
                        for site in buckets[free].values():
                            number = self._slots(site)
                            if number:
                                yield site, number

    def _slots(self, site: Site) -> int:
        if self.avoid and site.name in self.avoid:
            return 0
        return slots(room(site, self.ends_at) if site.claims else site.free, self.gang)


def buckets_for(gang: Gang, pool: Pool) -> list[dict[int, Site]]:
    """By free GPUs for gangs on GPUs, by free cores for all others."""
    return pool.by_gpu if gang.wants_gpus else pool.by_cpu


def bucket_of(gang: Gang, workers: int) -> int:
    """The first bucket whose nodes may hold so many workers."""
    cpu, _, gpu = gang.part
    return gpu * workers if gpu else cpu * workers // MILLI


def sites_with_room(gang: Gang, variant: Variant) -> list[Site]:
    """Those that could hold a worker now if nothing were claimed."""
    least = bucket_of(gang, 1)
    return [
        site
        for tier in variant.tiers
        for pool in tier
        for bucket in buckets_for(gang, pool)[least:]
        for site in bucket.values()
        if slots(site.free, gang)
    ]


def pack(rooms: Sequence[tuple[Site, int]], workers: int) -> Parts:
    """The same choice among nodes whose numbers of workers are known and suffice together."""
    by_room = sorted(rooms, key=lambda found: (found[1], found[0].index))
    numbers = [number for _, number in by_room]
    parts: Parts = []
    remaining = workers
    while remaining:
        tight = bisect_left(numbers, remaining)
        if tight < len(numbers):
            return [*parts, (by_room[tight][0], remaining)]
        site, number = by_room.pop()
        numbers.pop()
        parts.append((site, number))
        remaining -= number
    return parts
