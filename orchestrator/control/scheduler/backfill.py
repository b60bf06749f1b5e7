"""Reservations: places in the future for jobs whose turn it was and that could not start.

This is backfilling as EASY has it (Lifka, The ANL/IBM SP Scheduling System, JSSPP 1995), with a
reservation for the head of every team of every queue: a job that comes later may start only if it
ends before the reservation begins, or takes nothing that the reservation needs. `accounts.room`
holds that rule; this module finds the places. Called by `turns`.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from orchestrator.control.scheduler.accounts import (
    Claim,
    Holding,
    minus,
    opens_at,
    plus,
    unclaimed,
)
from orchestrator.control.scheduler.gangs import Amount, Gang, slots, times
from orchestrator.control.scheduler.ledger import Ledger, Parts, Seeker, Site, Variant
from orchestrator.control.scheduler.placement import pack, sites_with_room

Release = tuple[float, int, Site, Amount]
"""When, a number that keeps the order among equals, where, how much."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the future."""

    starts_at: float
    is_soonest: bool  # it may as well be later: some jobs do not say when they end
    variant: Variant
    parts: Parts


class Releases:
    """What becomes free when, by backend. `soonest` takes jobs of unknown end to end at once."""

    def __init__(self, ledger: Ledger) -> None:
        self._number = 0
        self._known: dict[str, list[Release]] = defaultdict(list)
        self._soonest: dict[str, list[Release]] = defaultdict(list)
        for site in ledger.sites.values():
            for holding in site.holdings:
                self._append(site, holding)
        for releases in (*self._known.values(), *self._soonest.values()):
            releases.sort()

    def of(self, backend: str, *, is_soonest: bool) -> list[Release]:
        return (self._soonest if is_soonest else self._known)[backend]

    def add(self, site: Site, amount: Amount, ends_at: float, soonest: float) -> None:
        """Something was started or claimed; an amount below zero takes an earlier one back."""
        self._number += 1
        if ends_at < inf:
            insort(self._known[site.backend], (ends_at, self._number, site, amount))
        insort(self._soonest[site.backend], (soonest, self._number, site, amount))

    def _append(self, site: Site, holding: Holding) -> None:
        self._number += 1
        if holding.ends_at < inf:
            release = (holding.ends_at, self._number, site, holding.amount)
            self._known[site.backend].append(release)
        release = (holding.soonest, self._number, site, holding.amount)
        self._soonest[site.backend].append(release)


def find_slot(seeker: Seeker, releases: Releases, now: float) -> Slot | None:
    """The earliest place for a gang that is in no other claim's way.

    First by the ends that are known; only where those are not enough by the soonest possible.
    Nodes are not kept for a gang whose quota hangs on a job of unknown end: others use them.
    """
    gang = seeker.gang
    opens = [
        (option.variant, opens_at(option.accounts, gang.total, now, is_soonest=False))
        for option in seeker.options
    ]
    for is_soonest in (False, True):
        found = [
            slot
            for variant, since in opens
            if since < inf
            and (slot := _scan(gang, variant, releases, since, is_soonest)) is not None
        ]
        if found:
            return min(found, key=lambda slot: (slot.starts_at, len(slot.parts)))
    return None


def _scan(
    gang: Gang, variant: Variant, releases: Releases, not_before: float, is_soonest: bool
) -> Slot | None:
    """Follows the releases in order of time until the gang has room."""
    rooms: dict[Site, Amount] = {site: unclaimed(site) for site in sites_with_room(gang, variant)}
    numbers = {site: slots(free, gang) for site, free in rooms.items()}
    total = sum(numbers.values())
    moment = not_before
    for time, _, site, freed in releases.of(variant.backend, is_soonest=is_soonest):
        if time > moment:
            if total >= gang.workers:
                break
            moment = time
        if site.pool not in variant.pools:
            continue
        free = rooms[site] = plus(rooms[site] if site in rooms else unclaimed(site), freed)
        number = slots(free, gang)
        total += number - numbers.get(site, 0)
        numbers[site] = number
    if total < gang.workers:
        return None
    rooms_then = [(site, number) for site, number in numbers.items() if number]
    return Slot(moment, is_soonest, variant, pack(rooms_then, gang.workers))


def claims_of(seeker: Seeker, slot: Slot) -> Iterator[tuple[Site, Claim]]:
    """What a slot keeps on each of its nodes."""
    ends_at = slot.starts_at + seeker.run_seconds
    for site, workers in slot.parts:
        kept = times(seeker.gang.part, workers)
        yield site, Claim(seeker.job, kept, slot.starts_at, ends_at, slot.is_soonest)


def keep(site: Site, claim: Claim, releases: Releases) -> None:
    """Enters a claim, and its end for those that look for a place behind it."""
    site.claim(claim)
    soonest = claim.starts_at if claim.ends_at == inf else claim.ends_at
    releases.add(site, claim.amount, claim.ends_at, soonest)


def end_now(site: Site, job: str, releases: Releases, now: float) -> None:
    """A job on the node is about to end: what it holds is released now and not when it was."""
    for holding in site.end_now(job, now):
        taken_back = minus((0, 0, 0), holding.amount)
        releases.add(site, holding.amount, now, now)
        releases.add(site, taken_back, holding.ends_at, holding.soonest)
