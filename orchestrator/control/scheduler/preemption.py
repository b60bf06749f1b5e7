"""Who gives way to a job of higher priority.

Only jobs of strictly lower priority do, so no two jobs can ever displace each other. Those that
lose least go first: worker-seconds since their last durable checkpoint. Nobody gives way in vain,
nobody who is stopping already, and nobody twice within the policy's cooldown. A victim saves before
it stops; until then its place is claimed for the job it gives way to. Called by `turns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.control.scheduler.accounts import NOTHING, minus, plus, room_without
from orchestrator.control.scheduler.gangs import Amount, Gang, fits, slots
from orchestrator.control.scheduler.ledger import Ledger, Option, Parts, Pool, Seeker, Site, Variant
from orchestrator.control.scheduler.placement import pack, sites_with_room
from orchestrator.control.scheduler.values import Policy, Workload
from orchestrator.records import Queue


@dataclass(frozen=True, slots=True, eq=False)
class Victim:
    """A job that may be asked to give way."""

    workload: Workload
    gang: Gang
    held: Mapping[Site, Amount]  # on the nodes it stands on
    pools: frozenset[Pool]  # of these
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
            held = ledger.held_by(workload, gang)
            pools = frozenset(site.pool for site in held if site.pool is not None)
            lost = lost_seconds(workload, ledger.now)
            found.append(Victim(workload, gang, held, pools, lost))
        found.sort(key=_cheapest_first)
        self.all = tuple(found) if policy.allows_preemption else ()
        self._below: dict[int, tuple[Victim, ...]] = {}
        self._on: dict[tuple[Variant, int], tuple[Victim, ...]] = {}
        self._freed_on: dict[tuple[Variant, int], dict[Site, Amount]] = {}
        self._held_on: dict[tuple[Variant, int], Amount] = {}
        self._by_queue: dict[int, dict[str, Amount]] = {}

    def below(self, priority: int) -> tuple[Victim, ...]:
        """Those of lower priority; some of them may be stopping by now."""
        found = self._below.get(priority)
        if found is None:
            found = self._below[priority] = tuple(
                victim for victim in self.all if victim.workload.priority < priority
            )
        return found

    def on(self, variant: Variant, priority: int) -> tuple[Victim, ...]:
        """Those of lower priority that stand on nodes of the variant."""
        found = self._on.get((variant, priority))
        if found is None:
            pools = variant.pools
            found = self._on[variant, priority] = tuple(
                victim for victim in self.below(priority) if not pools.isdisjoint(victim.pools)
            )
        return found

    def freed_on(self, variant: Variant, priority: int) -> Mapping[Site, Amount]:
        """What they would leave free on each node of the variant, if all of them gave way."""
        found = self._freed_on.get((variant, priority))
        if found is None:
            found = self._freed_on[variant, priority] = {}
            for victim in self.on(variant, priority):
                for site, amount in victim.held.items():
                    if site.pool in variant.pools:
                        found[site] = plus(found.get(site, NOTHING), amount)
        return found

    def most_room(self, variant: Variant, priority: int) -> Amount:
        """More than all nodes of the variant together would have free, if all of them gave way."""
        held = self._held_on.get((variant, priority))
        if held is None:
            held = NOTHING
            for amount in self.freed_on(variant, priority).values():
                held = plus(held, amount)
            self._held_on[variant, priority] = held
        return plus(held, variant.free_soon())

    def could_free(self, queue: str, priority: int) -> Amount:
        """What a queue's quota would get back if all its jobs below a priority gave way."""
        by_queue = self._by_queue.get(priority)
        if by_queue is None:
            by_queue = self._by_queue[priority] = {}
            for victim in self.below(priority):
                name = victim.workload.queue
                by_queue[name] = plus(by_queue.get(name, NOTHING), victim.gang.total)
        return by_queue.get(queue, NOTHING)


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
    for option in seeker.options:
        failed = option.variant.no_room_soon
        if failed.covers(seeker.gang.point, seeker.ends_at):
            continue
        choice = _Choice(seeker, option, ledger)
        if not choice.quota_fits():
            continue
        if choice.nodes_fit():
            return choice.relief()
        failed.add(seeker.gang.point, seeker.ends_at)
    return None


def choose_victims(seeker: Seeker, ledger: Ledger, victims: Victims) -> Relief | None:
    """The cheapest set of jobs whose end makes room for the gang, none of them needlessly."""
    point, ends_at, priority = seeker.gang.point, seeker.ends_at, seeker.workload.priority
    if not victims.below(priority):
        return None
    found = []
    for option in seeker.options:
        failed = option.variant.no_victims
        if failed.covers(point, ends_at, priority):
            continue
        if not fits(seeker.gang.total, victims.most_room(option.variant, priority)):
            continue
        choice = _Choice(seeker, option, ledger)
        if not choice.enough_quota(victims):
            continue
        if not choice.enough_nodes(victims):
            failed.add(point, ends_at, priority)
            continue
        choice.spare_the_needless()
        found.append(choice.relief())
    return min(found, key=lambda relief: relief.lost_seconds, default=None)


class _Choice:
    """Whom to ask, for one gang on one variant. `gone` are those that were asked; those that are
    stopping already count as gone."""

    def __init__(self, seeker: Seeker, option: Option, ledger: Ledger) -> None:
        self.seeker = seeker
        self.option = option
        self.gone: set[str] = set()
        self.chosen: list[Victim] = []
        self.freed: dict[Site, Amount] = {}  # by those that were asked
        self.numbers: dict[Site, int] = {}
        self.total = 0
        self._is_counted = False
        self._ledger = ledger

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
            stopping = [site for site in self._ledger.stopping_sites if site.pool in variant.pools]
            for site in (*sites_with_room(self.seeker.gang, variant), *stopping):
                self._count(site)
        return self.total >= self.seeker.gang.workers

    def enough_quota(self, victims: Victims) -> bool:
        """Asks jobs of the same queue until the quota is enough."""
        if self.quota_fits():
            return True
        workload, gang = self.seeker.workload, self.seeker.gang
        could_be = victims.could_free(workload.queue, workload.priority)
        of_queue = room_without(self.option.accounts[0], self.seeker.ends_at, ())
        if not fits(gang.total, plus(of_queue, could_be)):
            return False
        for victim in victims.below(workload.priority):
            if victim.workload.queue == workload.queue and self._may_ask(victim):
                self._ask(victim)
                if self.quota_fits():
                    return True
        return False

    def enough_nodes(self, victims: Victims) -> bool:
        """Asks jobs, wherever they are from, until the nodes have room."""
        if self.nodes_fit():
            return True
        variant, priority = self.option.variant, self.seeker.workload.priority
        if not self._could_fit(victims.freed_on(variant, priority)):
            return False
        for victim in victims.on(variant, priority):
            if self._may_ask(victim):
                self._ask(victim)
                if self.nodes_fit():
                    return True
        return False

    def _could_fit(self, freed: Mapping[Site, Amount]) -> bool:
        """Whether it is worth asking one by one: if all gave way at once, there would be room."""
        total, gang = self.total, self.seeker.gang
        for site, amount in freed.items():
            found = plus(room_without(site, self.seeker.ends_at, ()), amount)
            total += slots(found, gang) - self.numbers.get(site, 0)
            if total >= gang.workers:
                return True
        return False

    def spare_the_needless(self) -> None:
        """Lets those go on, the dearest first, without whom there is room too."""
        for victim in sorted(self.chosen, key=_cheapest_first, reverse=True):
            self._let_go_on(victim)
            if self.quota_fits() and self.nodes_fit():
                self.chosen.remove(victim)
            else:
                self._let_go(victim)

    def relief(self) -> Relief:
        rooms = [(site, number) for site, number in self.numbers.items() if number]
        parts = pack(rooms, self.seeker.gang.workers)
        return Relief(self.option.variant, parts, tuple(self.chosen))

    def _may_ask(self, victim: Victim) -> bool:
        return victim.job not in self.gone and victim.job not in self._ledger.stopping

    def _ask(self, victim: Victim) -> None:
        self.chosen.append(victim)
        self._let_go(victim)

    def _let_go(self, victim: Victim) -> None:
        self.gone.add(victim.job)
        for site, amount in victim.held.items():
            self.freed[site] = plus(self.freed.get(site, NOTHING), amount)
            self._recount(site)

    def _let_go_on(self, victim: Victim) -> None:
        self.gone.remove(victim.job)
        for site, amount in victim.held.items():
            self.freed[site] = minus(self.freed[site], amount)
            self._recount(site)

    def _recount(self, site: Site) -> None:
        if self._is_counted and site.pool in self.option.variant.pools:
            self._count(site)

    def _count(self, site: Site) -> None:
        if site.claims:
            room = room_without(site, self.seeker.ends_at, self.gone)
        else:
            room = plus(plus(site.free, site.leaving), self.freed.get(site, NOTHING))
        number = slots(room, self.seeker.gang)
        self.total += number - self.numbers.get(site, 0)
        self.numbers[site] = number
