"""What a queue may hold of the cluster, and whose turn it is among its teams.

A team's share is its dominant one: the largest fraction it holds of any resource of the queue,
over its weight (Ghodsi et al., Dominant Resource Fairness, NSDI 2011). Called by `order` and
`cycle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from orchestrator.control.scheduler.accounts import Account, Holding, plus
from orchestrator.control.scheduler.gangs import MILLI, Amount
from orchestrator.records.queue import CPU, GPU, MEMORY, Queue

UNLIMITED = 1 << 62
"""More than there is of anything, in whole numbers."""


class QuotaBook:
    """What the jobs of one queue hold of its quota: together, by kind of GPU, and by team."""

    def __init__(self, queue: Queue, cluster: Amount) -> None:
        self.queue = queue
        self.limits = _limits(queue.quota)
        self.account = Account(self.limits)
        self.kinds = {
            name.removeprefix(f"{GPU}/"): Account((UNLIMITED, UNLIMITED, int(limit)))
            for name, limit in queue.quota.items()
            if name.startswith(f"{GPU}/")
        }
        self.kind_limits = {kind: account.free[2] for kind, account in self.kinds.items()}
        self.is_limited = bool(queue.quota)
        self._totals = (
            min(self.limits[0], cluster[0]),
            min(self.limits[1], cluster[1]),
            min(self.limits[2], cluster[2]),
        )
        self._held: dict[str, Amount] = {}
        self._held_kinds: dict[tuple[str, str], int] = {}
        self._shares: dict[str, float] = {}  # as long as nothing changes

    def hold(
        self, team: str, holding: Holding, kind: str | None, *, is_leaving: bool = False
    ) -> None:
        """A job of the team takes its gang's total; `kind` is that of its GPUs."""
        self.account.hold(holding, is_leaving=is_leaving)
        self._held[team] = plus(self._held.get(team, (0, 0, 0)), holding.amount)
        self._shares.pop(team, None)
        if kind in self.kinds:
            self.kinds[kind].hold(_gpus_of(holding), is_leaving=is_leaving)
            key = team, kind
            self._held_kinds[key] = self._held_kinds.get(key, 0) + holding.amount[2]

    def accounts(self, kind: str | None) -> tuple[Account, ...]:
        """What a gang on this kind of GPU counts against."""
        if kind in self.kinds:
            return self.account, self.kinds[kind]
        return (self.account,)

    def end_now(self, job: str, now: float) -> None:
        for account in (self.account, *self.kinds.values()):
            account.end_now(job, now)

    def share(self, team: str) -> float:
        """The dominant share of a team over its weight; infinite for a weight of zero."""
        found = self._shares.get(team)
        if found is None:
            found = self._shares[team] = self._share(team)
        return found

    def _share(self, team: str) -> float:
        weight = self.queue.weights.get(team, 1.0)
        if weight <= 0:
            return inf
        held = self._held.get(team)
        if held is None:
            return 0.0
        parts = [(have, total) for have, total in zip(held, self._totals, strict=True)]
        parts += [
            (self._held_kinds.get((team, kind), 0), limit)
            for kind, limit in self.kind_limits.items()
        ]
        return dominant_share(parts) / weight


def dominant_share(parts: Iterable[tuple[int, int]]) -> float:
    """The largest of (held, in all); what there is none of counts for nothing."""
    return max((held / total for held, total in parts if total > 0), default=0.0)


def _limits(quota: Mapping[str, float]) -> Amount:
    return (
        round(quota[CPU] * MILLI) if CPU in quota else UNLIMITED,
        int(quota.get(MEMORY, UNLIMITED)),
        int(quota.get(GPU, UNLIMITED)),
    )


def _gpus_of(holding: Holding) -> Holding:
    return holding._replace(amount=(0, 0, holding.amount[2]))
