"""Which waiting jobs cannot start whatever becomes free, and why. They block nobody.

Called by `cycle`, before anyone's turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from orchestrator.control.scheduler import waits
from orchestrator.control.scheduler.accounts import NOTHING, least
from orchestrator.control.scheduler.gangs import Amount, Frontier, Gang, fits, slots
from orchestrator.control.scheduler.ledger import Ledger, Option, Site, Variant
from orchestrator.control.scheduler.order import Line, Size
from orchestrator.control.scheduler.share import QuotaBook
from orchestrator.control.scheduler.values import Node, Workload
from orchestrator.records import Wait


def obstacles(workload: Workload, line: Line, now: float) -> tuple[Wait, ...]:
    """What is in the way of the job itself, whatever its gang."""
    found: tuple[Wait, ...] = ()
    if workload.blocked_by is not None:
        found = (workload.blocked_by,)
    if line.book.queue.is_paused:
        found = (*found, waits.paused(line.name))
    if workload.eligible_at is not None and workload.eligible_at > now:
        found = (*found, waits.not_before(workload.eligible_at))
    return found


class Fitting:
    """Where gangs would fit if nothing else were there. Works equal and similar gangs out once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._of_gang: dict[Gang, tuple[Variant, ...] | Wait] = {}
        self._of_line: dict[tuple[Line, tuple[Variant, ...]], tuple[Option, ...]] = {}
        self._least: dict[tuple[Variant, ...], tuple[Amount, int]] = {}
        self._too_large: dict[Variant, Frontier] = defaultdict(Frontier)

    def options(self, line: Line, gang: Gang) -> tuple[Option, ...] | Wait:
        """The nodes the gang may be spread over in turn; a Wait where it fits none, ever."""
        variants = self._of_gang.get(gang)
        if variants is None:
            variants = self._of_gang[gang] = self._variants(gang)
        if isinstance(variants, Wait):
            return variants
        options = self._of_line.get((line, variants))
        if options is None:
            accounts = ((variant, line.book.accounts(variant.accelerator)) for variant in variants)
            options = tuple(Option(variant, found) for variant, found in accounts)
            self._of_line[line, variants] = options
        book = line.book
        if not fits(gang.total, book.limits):
            return waits.never_in_quota(gang, book)
        if book.kinds:
            options = tuple(option for option in options if _could_hold(option, gang, book))
        return options or waits.never_in_quota(gang, book)

    def fewer(self, line: Line, workload: Workload) -> Iterator[Size]:
        """Its gang with fewer workers, largest first, where that fits."""
        for workers in workload.demand.fewer:
            gang = self._ledger.gang(workload.demand.model_copy(update={"workers": workers}))
            options = self.options(line, gang)
            if not isinstance(options, Wait):
                yield gang, options

    def _variants(self, gang: Gang) -> tuple[Variant, ...] | Wait:
        if not self._ledger.sites:
            return waits.no_nodes()
        variants = self._ledger.variants(gang)
        known = self._least.get(variants)
        if known is None:
            known = self._least[variants] = _least_of(variants)
        smallest, count = known
        if slots(smallest, gang) * count >= gang.workers:
            return variants  # as nearly always
        fitting = tuple(variant for variant in variants if self._fits_empty(gang, variant))
        return fitting or self._why_not(gang, variants)

    def _fits_empty(self, gang: Gang, variant: Variant) -> bool:
        """Counts only where neither the smallest nor the largest node of all answers."""
        count, workers = len(variant.sites), gang.workers
        if slots(variant.smallest, gang) * count >= workers:
            return True
        if slots(variant.largest, gang) * count < workers:
            return False
        too_large = self._too_large[variant]
        if too_large.covers(gang.point):
            return False
        if most_workers(variant.sites, gang) >= workers:
            return True
        too_large.add(gang.point)
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


def _least_of(variants: tuple[Variant, ...]) -> tuple[Amount, int]:
    """What the smallest node of all has, and how many nodes the smallest variant has."""
    if not variants:
        return NOTHING, 0
    found = variants[0].smallest
    for variant in variants[1:]:
        found = least(found, variant.smallest)
    return found, min(len(variant.sites) for variant in variants)


def _could_hold(option: Option, gang: Gang, book: QuotaBook) -> bool:
    """Whether the quota of its kind of GPU is enough with nothing else in the queue."""
    limit = book.kind_limits.get(option.variant.accelerator or "")
    return limit is None or gang.total[2] <= limit


def most_workers(sites: list[Site], gang: Gang) -> int:
    """How many of the gang's workers the nodes would hold if nobody else were there."""
    return sum(slots(site.capacity, gang) for site in sites)


def _matches(gang: Gang, site: Site, node: Node) -> bool:
    if gang.accelerator is not None and site.accelerator != gang.accelerator:
        return False
    return all(node.labels.get(name) == value for name, value in gang.labels.items())
