"""Which waiting jobs cannot start whatever becomes free, and why. They block nobody.

Called by `cycle`, before anyone's turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from orchestrator.control.scheduler import waits
from orchestrator.control.scheduler.gangs import Frontier, Gang, slots
from orchestrator.control.scheduler.ledger import Ledger, Option, Site, Variant
from orchestrator.control.scheduler.order import Line
from orchestrator.control.scheduler.values import Node, Workload
from orchestrator.records import Wait


def obstacles(workload: Workload, line: Line, now: float) -> Iterator[Wait]:
    """What is in the way of the job itself, whatever its gang."""
    if workload.blocked_by is not None:
        yield workload.blocked_by
    if line.book.queue.is_paused:
        yield waits.paused(line.name)
    if workload.eligible_at is not None and workload.eligible_at > now:
        yield waits.not_before(workload.eligible_at)


class Fitting:
    """Where gangs would fit if nothing else were there. Works equal and similar gangs out once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._of_gang: dict[Gang, tuple[Variant, ...] | Wait] = {}
        self._too_large: dict[Variant, Frontier] = defaultdict(Frontier)
        self._small_enough: dict[Variant, Frontier] = defaultdict(Frontier)

    def options(self, line: Line, gang: Gang) -> tuple[Option, ...] | Wait:
        """The nodes the gang may be spread over in turn; a Wait where it fits none, ever."""
        variants = self._of_gang.get(gang)
        if variants is None:
            variants = self._of_gang[gang] = self._variants(gang)
        if isinstance(variants, Wait):
            return variants
        book = line.book
        options = tuple(
            Option(variant, book.accounts(variant.accelerator))
            for variant in variants
            if book.could_hold(gang.total, variant.accelerator)
        )
        return options or waits.never_in_quota(gang, book)

    def _variants(self, gang: Gang) -> tuple[Variant, ...] | Wait:
        if not self._ledger.sites:
            return waits.no_nodes()
        variants = self._ledger.variants(gang)
        fitting = tuple(variant for variant in variants if self._fits_empty(gang, variant))
        return fitting or self._why_not(gang, variants)

    def _fits_empty(self, gang: Gang, variant: Variant) -> bool:
        upside_down = tuple(-coordinate for coordinate in gang.point)
        if self._small_enough[variant].covers(upside_down):
            return True
        if self._too_large[variant].covers(gang.point):
            return False
        if most_workers(variant.sites, gang) >= gang.workers:
            self._small_enough[variant].add(upside_down)
            return True
        self._too_large[variant].add(gang.point)
        return False

    def _why_not(self, gang: Gang, variants: tuple[Variant, ...]) -> Wait:
        most = max((most_workers(variant.sites, gang) for variant in variants), default=0)
        drained = self._drained_that_would_do(gang, variants)
        if drained:
            return waits.fits_drained(gang, most, drained)
        return waits.never_fits(gang, most, self._kinds())

    def _drained_that_would_do(self, gang: Gang, variants: tuple[Variant, ...]) -> list[str]:
        """Names of nodes that take no new work and with which the gang would fit."""
        groups: dict[tuple[str, str | None], list[Site]] = defaultdict(list)
        for site, node in self._ledger.drained:
            if _matches(gang, site, node):
                kind = site.accelerator if gang.wants_gpus else None
                groups[site.backend, kind].append(site)
        for (backend, kind), sites in groups.items():
            beside = [
                site
                for variant in variants
                if (variant.backend, variant.accelerator) == (backend, kind)
                for site in variant.sites
            ]
            if most_workers([*sites, *beside], gang) >= gang.workers:
                return [site.name for site in sites]
        return []

    def _kinds(self) -> list[str]:
        return sorted({s.accelerator for s in self._ledger.sites.values() if s.accelerator})


def most_workers(sites: list[Site], gang: Gang) -> int:
    """How many of the gang's workers the nodes would hold if nobody else were there."""
    return sum(slots(site.capacity, gang) for site in sites)


def _matches(gang: Gang, site: Site, node: Node) -> bool:
    if gang.accelerator is not None and site.accelerator != gang.accelerator:
        return False
    return all(node.labels.get(name) == value for name, value in gang.labels.items())
