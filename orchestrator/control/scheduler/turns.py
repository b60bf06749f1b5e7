"""One job's turn: start it, or make room for it, or keep a place for it, or let it wait.

Called by `cycle`, for one job after the other as `order` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

from orchestrator.control.scheduler.accounts import Claim, Holding, opens_at, room
from orchestrator.control.scheduler.backfill import (
    Releases,
    Slot,
    claims_of,
    end_now,
    find_slot,
    keep,
)
from orchestrator.control.scheduler.explain import Why, explain
from orchestrator.control.scheduler.gangs import Gang, fits, times
from orchestrator.control.scheduler.ledger import Ledger, Option, Parts, Pool, Seeker, Variant
from orchestrator.control.scheduler.order import Line
from orchestrator.control.scheduler.placement import place
from orchestrator.control.scheduler.preemption import (
    Relief,
    Victim,
    Victims,
    await_stopping,
    choose_victims,
)
from orchestrator.control.scheduler.values import Admit, Policy, Preempt, Reservation, Workload
from orchestrator.records import Placed, Wait

WHENEVER = -inf
"""As the end of a gang: claims do not matter to it."""


class Turns:
    """What was decided so far, and what that leaves to those that come later."""

    def __init__(self, ledger: Ledger, lines: Mapping[str, Line], policy: Policy) -> None:
        self.admissions: list[Admit] = []
        self.preemptions: list[Preempt] = []
        self.reservations: list[Reservation] = []
        self.waits: dict[str, tuple[Wait, ...]] = {}
        self._ledger = ledger
        self._lines = lines
        self._policy = policy
        self._has_claims = False
        self._releases: Releases | None = None  # worked out when the first place is kept
        self._victims: Victims | None = None  # when the first job could ask others to give way

    def serve(self, line: Line, workload: Workload, gang: Gang) -> None:
        """Decides about one job; those that come before it were served already."""
        seeker = self._seeker(line, workload, gang)
        closed = line.closed_to(workload.team)
        # 1. Start it where there is room that nobody is promised.
        started, why = self._find_place(seeker, closed)
        if started is not None:
            self._admit(line, seeker, *started)
            return
        if closed:
            seeker = replace(seeker, options=_clear_of(closed, seeker.options))
        # 2. Make room for it: by waiting for those that stop, or by asking others to.
        kept: Relief | Slot | None = self._make_room(line, seeker)
        # 3. Keep a place for it if it is the first of its team that cannot start.
        if kept is None and line.is_first(workload):
            kept = self._reserve(line, seeker)
        # 4. Let it wait.
        line.note_blocked(workload)
        self.waits[workload.job] = explain(line, seeker, why, kept)

    def _seeker(self, line: Line, workload: Workload, gang: Gang) -> Seeker:
        options = line.options[gang]
        assert isinstance(options, tuple), "a job that fits nowhere has no turn"
        seconds = workload.remaining_seconds
        run_seconds = inf if seconds is None or seconds <= 0 else seconds
        return Seeker(workload, gang, options, run_seconds, self._ledger.now + run_seconds)

    # 1. Start it.

    def _find_place(
        self, seeker: Seeker, closed: frozenset[Pool]
    ) -> tuple[tuple[Option, Parts] | None, Why]:
        """The place on the fewest nodes; or why there is none, the most hopeful reason of all."""
        best: tuple[Option, Parts] | None = None
        why = Why.CLOSED
        for option in seeker.options:
            if closed and option.variant.pools <= closed:
                continue
            total = seeker.gang.total
            if not all(fits(total, room(account, seeker.ends_at)) for account in option.accounts):
                why = max(why, Why.QUOTA)
                continue
            parts = self._place(seeker, option.variant, closed)
            if parts is None:
                is_promised = option.variant.failed.get(seeker.gang, WHENEVER) > WHENEVER
                why = max(why, Why.PROMISED if is_promised else Why.NO_ROOM)
            elif best is None or len(parts) < len(best[1]):
                best = option, parts
                if len(parts) == 1:
                    break
        return best, why

    def _place(self, seeker: Seeker, variant: Variant, closed: frozenset[Pool]) -> Parts | None:
        """Asks `place`, but never twice in vain."""
        gang, ends_at = seeker.gang, seeker.ends_at
        failed = variant.failed.get(gang)
        if failed is not None and failed <= ends_at:
            return None
        if variant.no_room.covers(gang.point):
            variant.failed[gang] = WHENEVER
            return None
        if self._has_claims and variant.promised.covers((*gang.point, ends_at)):
            variant.failed[gang] = ends_at
            return None
        avoid = seeker.workload.avoid
        if avoid:
            parts = place(gang, variant, ends_at, avoid=avoid, closed=closed)
            if parts is not None:
                return parts
        parts = place(gang, variant, ends_at, closed=closed)
        if parts is None and not closed:
            if self._has_claims and place(gang, variant, WHENEVER) is not None:
                variant.promised.add((*gang.point, ends_at))
                variant.failed[gang] = ends_at
            else:
                variant.no_room.add(gang.point)
                variant.failed[gang] = WHENEVER
        return parts

    def _admit(self, line: Line, seeker: Seeker, option: Option, parts: Parts) -> None:
        now, job, ends_at = self._ledger.now, seeker.job, seeker.ends_at
        soonest = now if ends_at == inf else ends_at
        for site, workers in parts:
            held = times(seeker.gang.part, workers)
            site.hold(Holding(job, held, ends_at, soonest))
            if self._releases is not None:
                self._releases.add(site, held, ends_at, soonest)
        total = Holding(job, seeker.gang.total, ends_at, soonest)
        line.book.hold(seeker.workload.team, total, option.variant.accelerator)
        self.admissions.append(Admit(job, placed(parts)))

    # 2. Make room for it.

    def _make_room(self, line: Line, seeker: Seeker) -> Relief | None:
        relief = await_stopping(seeker, self._ledger) if self._ledger.stopping else None
        if relief is None and self._policy.allows_preemption:
            relief = self._preempt(seeker)
        if relief is not None:
            now = self._ledger.now
            self._keep(line, seeker, Slot(now, False, relief.variant, relief.parts))
            self.reservations.append(Reservation(seeker.job, None, placed(relief.parts)))
        return relief

    def _preempt(self, seeker: Seeker) -> Relief | None:
        if seeker.workload.priority <= self._ledger.lowest_priority:
            return None
        if self._victims is None:
            queues = {name: line.book.queue for name, line in self._lines.items()}
            self._victims = Victims(self._ledger, queues, self._policy)
        relief = choose_victims(seeker, self._ledger, self._victims)
        if relief is not None:
            for victim in relief.victims:
                self._ask(victim, seeker.workload)
        return relief

    def _ask(self, victim: Victim, preemptor: Workload) -> None:
        workload = victim.workload
        self.preemptions.append(
            Preempt(
                workload.job,
                preemptor.job,
                f"Gives way to {preemptor.job} of priority {preemptor.priority}, above its own "
                f"{workload.priority}; {victim.lost_seconds:.0f} worker-seconds are not yet in a "
                "checkpoint.",
            )
        )
        self._ledger.stop(workload.job, victim.sites)
        for site in victim.sites:
            end_now(site, workload.job, self._known_releases(), self._ledger.now)
        line = self._lines.get(workload.queue)
        if line is not None:
            line.book.end_now(workload.job, self._ledger.now)

    # 3. Keep a place for it.

    def _reserve(self, line: Line, seeker: Seeker) -> Slot | None:
        """Where no place can be kept, none of the nodes it could use go to later jobs of its queue
        (or only of its team, where the queue's first has a place)."""
        slot = None
        if len(self.reservations) < self._policy.max_reservations and seeker.options:
            slot = find_slot(seeker, self._known_releases(), self._ledger.now)
        if slot is None:
            self._close(line, seeker)
            return None
        self._keep(line, seeker, slot)
        starts_at = None if slot.is_soonest else slot.starts_at
        self.reservations.append(Reservation(seeker.job, starts_at, placed(slot.parts)))
        return slot

    def _keep(self, line: Line, seeker: Seeker, slot: Slot) -> None:
        for site, claim in claims_of(seeker, slot):
            keep(site, claim, self._known_releases())
        ends_at = slot.starts_at + seeker.run_seconds
        total = Claim(seeker.job, seeker.gang.total, slot.starts_at, ends_at, slot.is_soonest)
        for account in line.book.accounts(slot.variant.accelerator):
            account.claim(total)
        self._has_claims = True

    def _close(self, line: Line, seeker: Seeker) -> None:
        line.close(seeker.workload, [option.variant for option in seeker.options])
        now = self._ledger.now
        for account in {id(a): a for o in seeker.options for a in o.accounts}.values():
            opens = opens_at([account], seeker.gang.total, now, is_soonest=True)
            account.claim(Claim(seeker.job, seeker.gang.total, opens, inf, True))

    def _known_releases(self) -> Releases:
        if self._releases is None:
            self._releases = Releases(self._ledger)
        return self._releases


def _clear_of(closed: frozenset[Pool], options: tuple[Option, ...]) -> tuple[Option, ...]:
    return tuple(option for option in options if not option.variant.pools & closed)


def placed(parts: Parts) -> tuple[Placed, ...]:
    return tuple(
        Placed(backend=site.backend, node=site.name, workers=workers) for site, workers in parts
    )
