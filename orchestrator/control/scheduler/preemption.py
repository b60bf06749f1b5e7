"""Who gives way to a job of higher priority.

Only jobs of strictly lower priority do, so no two jobs can ever displace each other. Those that
lose least go first: worker-seconds since their last durable checkpoint. Nobody gives way in vain,
nobody who is stopping already, and nobody twice within the policy's cooldown. A victim saves before
it stops; until then its place is claimed for the job it gives way to. Called by `turns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.control.scheduler.accounts import plus, room_without
from orchestrator.control.scheduler.gangs import Amount, Frontier, Gang, fits, slots
from orchestrator.control.scheduler.ledger import Ledger, Option, Parts, Seeker, Site, Variant
from orchestrator.control.scheduler.placement import pack, sites_with_room
from orchestrator.control.scheduler.values import Policy, Workload
from orchestrator.records import Queue


@dataclass(frozen=True, slots=True)
class Victim:
    """A job that may be asked to give way."""

    workload: Workload
    gang: Gang
    sites: tuple[Site, ...]
    lost_seconds: float  # times its workers

    @property
    def job(self) -> str:
        return self.workload.job


@dataclass(frozen=True, slots=True)
class Relief:
    """Where a gang will go once the jobs that stand there are gone."""

    variant: Variant
    parts: Parts
    victims: tuple[Victim, ...] = ()  # those to ask; empty: all of them are stopping already

    @property
    def lost_seconds(self) -> float:
        return sum(victim.lost_seconds for victim in self.victims)


class Victims:
    """All that may give way, those that lose least first."""

    def __init__(self, ledger: Ledger, queues: Mapping[str, Queue], policy: Policy) -> None:
        found = []
        for workload, gang in ledger.holders.values():
            queue = queues.get(workload.queue)
            if workload.is_stopping or (queue is not None and not queue.allows_preemption):
                continue
            given_way = workload.preempted_at
            if given_way is not None and (
                ledger.now - given_way < policy.preemption_cooldown_seconds
            ):
                continue
            lost = lost_seconds(workload, ledger.now)
            found.append(Victim(workload, gang, ledger.sites_of(workload), lost))
        found.sort(key=_cheapest_first)
        self.all = tuple(found) if policy.allows_preemption else ()
        self.lowest_priority = min((v.workload.priority for v in self.all), default=None)
        self._could_free: dict[tuple[str, int], Amount] = {}

    def could_free(self, queue: str, below: int) -> Amount:
        """What a queue's quota would get back if all its jobs below a priority gave way."""
        found = self._could_free.get((queue, below))
        if found is None:
            found = (0, 0, 0)
            for victim in self.all:
                if victim.workload.queue == queue and victim.workload.priority < below:
                    found = plus(found, victim.gang.total)
            self._could_free[queue, below] = found
        return found


def lost_seconds(workload: Workload, now: float) -> float:
    """Worker-seconds of training that would have to be done again."""
    if workload.started_at is None:
        return 0.0
    saved_at = max(workload.started_at, workload.checkpointed_at or workload.started_at)
    return max(0.0, now - saved_at) * workload.demand.workers


def _cheapest_first(victim: Victim) -> tuple[float, int, float, str]:
    workload = victim.workload
    return victim.lost_seconds, workload.priority, -workload.queued_at, workload.job


def await_stopping(seeker: Seeker, ledger: Ledger) -> Relief | None:
    """Room for a gang as soon as those that are stopping are gone; nobody else is asked."""
    point = (*seeker.gang.point, seeker.ends_at)
    for option in seeker.options:
        choice = _Choice(seeker, option, ledger)
        failed = ledger.no_room_soon.setdefault(option.variant, Frontier())
        if not choice.quota_fits() or failed.covers(point):
            continue
        if choice.nodes_fit():
            return choice.relief()
        failed.add(point)
    return None


def choose_victims(seeker: Seeker, ledger: Ledger, victims: Victims) -> Relief | None:
    """The cheapest set of jobs whose end makes room for the gang, none of them needlessly."""
    found = []
    for option in seeker.options:
        point = (*seeker.gang.point, seeker.ends_at, -seeker.workload.priority)
        if option.variant.no_victims.covers(point):
            continue
        choice = _Choice(seeker, option, ledger)
        below = [victim for victim in victims.all if _may_ask(victim, seeker, ledger)]
        if not choice.enough_quota(below, victims):
            continue
        if not choice.enough_nodes(below):
            option.variant.no_victims.add(point)
            continue
        choice.spare_the_needless()
        found.append(choice.relief())
    return min(found, key=lambda relief: relief.lost_seconds, default=None)


def _may_ask(victim: Victim, seeker: Seeker, ledger: Ledger) -> bool:
    below = victim.workload.priority < seeker.workload.priority
    return below and victim.job not in ledger.stopping


class _Choice:
    """Whom to ask, for one gang on one variant. `gone` are those that were asked; those that are
    stopping already count as gone."""

    def __init__(self, seeker: Seeker, option: Option, ledger: Ledger) -> None:
        self.seeker = seeker
        self.option = option
        self.gone: set[str] = set()
        self.chosen: list[Victim] = []
        self.numbers: dict[Site, int] = {}
        self.total = 0
        self._is_counted = False
        self._stopping_sites = ledger.stopping_sites

    def quota_fits(self) -> bool:
        total, ends_at = self.seeker.gang.total, self.seeker.ends_at
        return all(
            fits(total, room_without(account, ends_at, self.gone))
            for account in self.option.accounts
        )

    def nodes_fit(self) -> bool:
        """Counts the room on nodes once; from then on it is kept up to date."""
        if not self._is_counted:
            self._is_counted = True
            variant = self.option.variant
            stopping = [site for site in self._stopping_sites if site.pool in variant.pools]
            for site in (*sites_with_room(self.seeker.gang, variant), *stopping):
                self._count(site)
        return self.total >= self.seeker.gang.workers

    def enough_quota(self, below: Iterable[Victim], victims: Victims) -> bool:
        """Asks jobs of the same queue until the quota is enough."""
        if self.quota_fits():
            return True
        workload, gang = self.seeker.workload, self.seeker.gang
        could_be = victims.could_free(workload.queue, workload.priority)
        of_queue = room_without(self.option.accounts[0], self.seeker.ends_at, ())
        if not fits(gang.total, plus(of_queue, could_be)):
            return False
        for victim in below:
            if victim.workload.queue == workload.queue:
                self._ask(victim)
                if self.quota_fits():
                    return True
        return False

    def enough_nodes(self, below: Iterable[Victim]) -> bool:
        """Asks jobs, wherever they are from, until the nodes have room."""
        if self.nodes_fit():
            return True
        pools = self.option.variant.pools
        for victim in below:
            if victim.job in self.gone or not any(s.pool in pools for s in victim.sites):
                continue
            self._ask(victim)
            if self.nodes_fit():
                return True
        return False

    def spare_the_needless(self) -> None:
        """Lets those go on, the dearest first, without whom there is room too."""
        for victim in sorted(self.chosen, key=_cheapest_first, reverse=True):
            self.gone.remove(victim.job)
            self._recount(victim)
            if self.quota_fits() and self.nodes_fit():
                self.chosen.remove(victim)
            else:
                self.gone.add(victim.job)
                self._recount(victim)

    def relief(self) -> Relief:
        rooms = [(site, number) for site, number in self.numbers.items() if number]
        parts = pack(rooms, self.seeker.gang.workers)
        return Relief(self.option.variant, parts, tuple(self.chosen))

    def _ask(self, victim: Victim) -> None:
        self.gone.add(victim.job)
        self.chosen.append(victim)
        self._recount(victim)

    def _recount(self, victim: Victim) -> None:
        if self._is_counted:
            for site in victim.sites:
                if site.pool in self.option.variant.pools:
                    self._count(site)

    def _count(self, site: Site) -> None:
        number = slots(room_without(site, self.seeker.ends_at, self.gone), self.seeker.gang)
        self.total += number - self.numbers.get(site, 0)
        self.numbers[site] = number
