"""One job's turn: start it, or make room for it, or keep a place for it, or let it wait.

Called by `cycle`, for one job after the other as `order` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from operator import le

from orchestrator.control.scheduler import waits
from orchestrator.control.scheduler.accounts import Claim, Holding, opens_at, room
from orchestrator.control.scheduler.backfill import (
    Releases,
    Slot,
    claims_of,
    end_now,
    find_slot,
    keep,
)
from orchestrator.control.scheduler.explain import Why, explain, explain_closed
from orchestrator.control.scheduler.gangs import Gang, fits, times
from orchestrator.control.scheduler.ledger import Ledger, Option, Parts, Pool, Seeker, Variant
from orchestrator.control.scheduler.order import Entry, Line
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

    def serve(self, line: Line, entry: Entry) -> None:
        """Decides about one job; those that come before it were served already."""
        workload = entry.workload
        options = line.open_to(workload.team, entry.options)
        if not options:
            line.note_blocked(workload, is_next=False)
            self.waits[workload.job] = explain_closed(line, workload.team)
            return
        seeker = self._seeker(workload, entry.gang, options)
        closed = line.closed_to(workload.team)
        # 1. Start it where there is room that nobody is promised; in time with fewer workers.
        found = self._find_place(line, seeker, closed)
        if isinstance(found, Why) and self._start_fewer(line, entry, closed):
            return
        if not isinstance(found, Why):
            self._admit(line, seeker, *found)
            return
        kept: Relief | Slot | None = None
        if line.may_keep(workload):
            if closed:
                seeker = seeker._replace(options=_clear_of(closed, options))
            # 2. Make room for it: by waiting for those that stop, or by asking others to.
            # 3. Or keep a place for it in the future.
            kept = self._make_room(line, seeker) or self._reserve(line, seeker)
        # 4. Let it wait.
        line.note_blocked(workload, is_next=isinstance(kept, Relief))
        told = explain(line, seeker, found, kept)
        if workload.demand.fewer:
            told = (*told, *waits.fewer(workload, entry.gang, self._ledger.now))
        self.waits[workload.job] = told

    # 1. Start it.

    def _seeker(self, workload: Workload, gang: Gang, options: tuple[Option, ...]) -> Seeker:
        seconds = workload.remaining_seconds
        run_seconds = inf if seconds is None or seconds <= 0 else seconds
        run_seconds *= workload.demand.workers / gang.workers  # fewer workers take longer
        return Seeker(workload, gang, options, run_seconds, self._ledger.now + run_seconds)

    def _start_fewer(self, line: Line, entry: Entry, closed: frozenset[Pool]) -> bool:
        """Whether it starts with fewer workers, having waited long enough for all of them."""
        workload = entry.workload
        if workload.shrinks_at is None or workload.shrinks_at > self._ledger.now:
            return False
        for gang, options in entry.fewer:
            seeker = self._seeker(workload, gang, line.open_to(workload.team, options))
            found = self._find_place(line, seeker, closed)
            if not isinstance(found, Why):
                self._admit(line, seeker, *found)
                return True
        return False

    def _find_place(
        self, line: Line, seeker: Seeker, closed: frozenset[Pool]
    ) -> tuple[Option, Parts] | Why:
        """The place on the fewest nodes, none of those to avoid if it can be; or why there is none,
        the most hopeful reason of all."""
        account, total = line.book.account, seeker.gang.total
        if not fits(total, account.free):
            return Why.QUOTA
        if account.claims and not fits(total, room(account, seeker.ends_at)):
            return Why.QUOTA
        avoid = seeker.workload.avoid
        found = self._best_place(seeker, closed, avoid)
        if avoid and isinstance(found, Why):
            found = self._best_place(seeker, closed, frozenset())
        return found

    def _best_place(
        self, seeker: Seeker, closed: frozenset[Pool], avoid: frozenset[str]
    ) -> tuple[Option, Parts] | Why:
        best: tuple[Option, Parts] | None = None
        why = Why.QUOTA
        for option in seeker.options:
            variant = option.variant
            parts: Parts | Why = Why.QUOTA
            if self._quota_of_kind_fits(seeker, option):
                parts = self._place(seeker, variant, closed, avoid)
            if isinstance(parts, Why):
                why = parts if parts > why else why
            elif best is None or len(parts) < len(best[1]):
                best = option, parts
                if len(parts) == 1:
                    break
        return best or why

    def _quota_of_kind_fits(self, seeker: Seeker, option: Option) -> bool:
        """That of the queue as a whole has been looked at."""
        return len(option.accounts) == 1 or all(
            fits(seeker.gang.total, room(account, seeker.ends_at))
            for account in option.accounts[1:]
        )

    def _place(
        self, seeker: Seeker, variant: Variant, closed: frozenset[Pool], avoid: frozenset[str]
    ) -> Parts | Why:
        """Asks `place`, but never twice in vain."""
        gang, ends_at = seeker.gang, seeker.ends_at
        if variant.no_room.covers(gang.point):
            return Why.NO_ROOM
        if self._has_claims and variant.promised.covers(gang.point, ends_at):
            return Why.PROMISED
        parts = place(gang, variant, ends_at, avoid=avoid, closed=closed)
        if parts is not None:
            return parts
        if closed or avoid:
            return Why.NO_ROOM
        if self._has_claims and self._would_fit(gang, variant):
            variant.promised.add(gang.point, ends_at)
            return Why.PROMISED
        variant.no_room.add(gang.point)
        return Why.NO_ROOM

    def _would_fit(self, gang: Gang, variant: Variant) -> bool:
        """Whether there would be room for it if nothing were claimed."""
        if variant.fitted_at != len(self.admissions):
            variant.fitted, variant.fitted_at = [], len(self.admissions)
        if any(all(map(le, gang.point, known)) for known in variant.fitted):
            return True
        if place(gang, variant, WHENEVER) is None:
            return False
        variant.fitted.append(gang.point)
        return True

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
        self._ledger.stop(workload.job, victim.held)
        for site in victim.held:
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
