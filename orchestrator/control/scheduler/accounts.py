"""Something that is shared, a node or a queue's quota: what is free of it now, and what will be.

Three things take from it. What runs holds its amount until it ends. What is reserved claims its
amount from an expected start on. What would start now may use the rest: until its own end, no
claim may come short. Called by `ledger`, `placement`, `backfill` and `preemption`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import inf
from typing import NamedTuple

from orchestrator.control.scheduler.gangs import Amount, fits

NOTHING: Amount = (0, 0, 0)


class Holding(NamedTuple):
    """What a running job has of it."""

    job: str
    amount: Amount
    ends_at: float  # infinite where nobody can tell
    soonest: float  # the earliest it could end: now, where nobody can tell


class Claim(NamedTuple):
    """What is kept for a waiting job."""

    job: str
    amount: Amount
    starts_at: float
    ends_at: float  # infinite where nobody can tell
    is_soonest: bool  # it counts on jobs to end of which nobody can tell when


class Account:
    """What is free, what is held, what is claimed. The working copy of one cycle."""

    __slots__ = ("_after", "claims", "free", "holdings", "leaving")

    def __init__(self, free: Amount) -> None:
        self.free = free
        self.leaving: Amount = NOTHING  # held by those that are stopping
        self.holdings: list[Holding] = []
        self.claims: list[Claim] = []
        self._after: list[Amount] | None = None

    def hold(self, holding: Holding, *, is_leaving: bool = False) -> None:
        self.free = minus(self.free, holding.amount)
        if is_leaving:
            self.leaving = plus(self.leaving, holding.amount)
        self.holdings.append(holding)
        self._after = None

    def claim(self, claim: Claim) -> None:
        self.claims.append(claim)
        self._after = None

    def end_now(self, job: str, now: float) -> list[Holding]:
        """The job begins to stop. Returns its holdings as they were."""
        before = [holding for holding in self.holdings if holding.job == job]
        self.holdings = [
            holding._replace(ends_at=now, soonest=now) if holding.job == job else holding
            for holding in self.holdings
        ]
        for holding in before:
            self.leaving = plus(self.leaving, holding.amount)
        self._after = None
        return before

    def after_claims(self) -> list[Amount]:
        """For each claim: what is left at its start, once it and all others of then are served."""
        if self._after is None:
            self._after = [_left_at(self, claim) for claim in self.claims]
        return self._after


def _left_at(account: Account, claim: Claim) -> Amount:
    moment = claim.starts_at
    found = account.free
    for holding in account.holdings:
        if end_for(claim, holding) <= moment:
            found = plus(found, holding.amount)
    for other in account.claims:
        if other.starts_at <= moment < other.ends_at:
            found = minus(found, other.amount)
    return found


def end_for(claim: Claim, holding: Holding) -> float:
    """When a holding ends, as the claim sees it."""
    return holding.soonest if claim.is_soonest else holding.ends_at


def plus(one: Amount, other: Amount) -> Amount:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def minus(one: Amount, other: Amount) -> Amount:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]


def least(one: Amount, other: Amount) -> Amount:
    return min(one[0], other[0]), min(one[1], other[1]), min(one[2], other[2])


def room(account: Account, ends_at: float) -> Amount:
    """What a job that starts now and ends then may take.

    Claims that start before its end must still find their amount; free only grows between the
    starts of claims, so those are the moments to look at.
    """
    found = account.free
    if account.claims:
        for claim, left in zip(account.claims, account.after_claims(), strict=True):
            if claim.starts_at < ends_at:
                found = least(found, left)
    return found


def room_without(account: Account, ends_at: float, gone: Collection[str]) -> Amount:
    """The same once those that are stopping have stopped, and the jobs in `gone` too."""
    found = plus(account.free, account.leaving)
    freed = [holding for holding in account.holdings if holding.job in gone] if gone else []
    for holding in freed:
        found = plus(found, holding.amount)
    if account.claims:
        for claim, left in zip(account.claims, account.after_claims(), strict=True):
            if claim.starts_at < ends_at:
                for holding in freed:
                    if end_for(claim, holding) > claim.starts_at:
                        left = plus(left, holding.amount)
                found = least(found, left)
    return found


def unclaimed(account: Account) -> Amount:
    """What is free now and claimed by nobody, whenever; may be below zero."""
    found = account.free
    for claim in account.claims:
        found = minus(found, claim.amount)
    return found


def opens_at(accounts: Iterable[Account], total: Amount, now: float, *, is_soonest: bool) -> float:
    """The earliest time at which every account has the total to spare; infinite if unknown."""
    return max(_opens_at(account, total, now, is_soonest) for account in accounts)


def _opens_at(account: Account, total: Amount, now: float, is_soonest: bool) -> float:
    found = unclaimed(account)
    if fits(total, found):
        return now
    ends = [(h.soonest if is_soonest else h.ends_at, h.amount) for h in account.holdings]
    for claim in account.claims:
        end = claim.starts_at if is_soonest and claim.ends_at == inf else claim.ends_at
        ends.append((end, claim.amount))
    for end, freed in sorted(ends):
        if end == inf:
            break
        found = plus(found, freed)
        if fits(total, found):
            return max(now, end)
    return inf
