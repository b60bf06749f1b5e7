"""Whose turn it is. Within a queue: priority, then the team with the smaller share, then age, then
id. Among queues: the priority of their next jobs, then their age, then their ids.

A requeued job keeps `queued_at` and so its place; no timer moves a job. Called by `cycle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace

from orchestrator.control.scheduler.gangs import Gang
from orchestrator.control.scheduler.ledger import Option, Pool, Variant
from orchestrator.control.scheduler.placement import NO_POOLS
from orchestrator.control.scheduler.share import QuotaBook
from orchestrator.control.scheduler.values import Workload
from orchestrator.records import Wait

Standing = tuple[int, float, str]
"""Priority with its sign turned, `queued_at`, job id: sorts as the jobs of one team stand."""

Size = tuple[Gang, tuple[Option, ...]]
"""A gang of some number of workers, and where it may go."""


class Entry:
    """A job in line."""

    __slots__ = ("fewer", "gang", "options", "standing", "workload")

    def __init__(
        self,
        workload: Workload,
        gang: Gang,
        options: tuple[Option, ...],
        fewer: tuple[Size, ...] = (),
    ) -> None:
        self.standing: Standing = (-workload.priority, workload.queued_at, workload.job)
        self.workload = workload
        self.gang = gang
        self.options = options  # where it may go
        self.fewer = fewer  # smaller gangs of it, largest first


class Line:
    """The waiting jobs of one queue, and what those that had their turn leave to the others."""

    def __init__(self, book: QuotaBook) -> None:
        self.book = book
        self.name = book.queue.name
        self.head: Workload | None = None  # the first that had its turn and did not start
        self.told: dict[tuple[object, ...], tuple[Wait, ...]] = {}  # reasons that jobs share
        self.behind: Wait | None = None
        self._blocked_teams: set[str] = set()
        self._closed: dict[str | None, frozenset[Pool]] = {}  # to a team; None: to all of them
        self._closed_by: dict[str | None, Workload] = {}
        self._closed_to: dict[str, frozenset[Pool]] = {}  # what follows from these, once asked for
        self._open: dict[tuple[str, tuple[Option, ...]], tuple[Option, ...]] = {}
        self._teams: dict[str, list[Entry]] = {}
        self._turns: list[tuple[int, float, float, str, str]] = []

    def add(self, entry: Entry) -> None:
        self._teams.setdefault(entry.workload.team, []).append(entry)

    def begin(self) -> None:
        """After the last `add`."""
        for team, entries in self._teams.items():
            entries.sort(key=_standing, reverse=True)  # the first is popped from the end
            self._turns.append(self._turn(team))
        heapify(self._turns)

    def __bool__(self) -> bool:
        return bool(self._turns)

    def next_standing(self) -> Standing:
        """Where its next job stands among those of other queues."""
        return self._teams[self._turns[0][-1]][-1].standing

    def pop(self) -> Entry:
        """The job whose turn it is; `settle` must follow once its fate is known."""
        return self._teams[self._turns[0][-1]].pop()

    def settle(self) -> None:
        """The team that had its turn waits for its next one, with the share it has now."""
        team = self._turns[0][-1]
        if self._teams[team]:
            heapreplace(self._turns, self._turn(team))
        else:
            heappop(self._turns)

    def may_keep(self, workload: Workload) -> bool:
        """Whether a place may be kept for it: not if an earlier job of its team has to wait for
        longer than until those that give way to it have stopped."""
        return workload.team not in self._blocked_teams

    def note_blocked(self, workload: Workload, *, is_next: bool) -> None:
        """It had its turn and does not start; `is_next`: it does so as soon as others stop."""
        if self.head is None:
            self.head = workload
        if not is_next:
            self._blocked_teams.add(workload.team)

    def close(self, first: Workload, variants: Iterable[Variant]) -> None:
        """Keeps nodes from those that come later: in the queue, or in the team of one that is the
        first of its team only."""
        whom = None if self.head is None else first.team
        pools = frozenset(pool for variant in variants for pool in variant.pools)
        self._closed[whom] = self._closed.get(whom, NO_POOLS) | pools
        self._closed_by[whom] = first
        self._closed_to.clear()
        self._open.clear()

    def closed_to(self, team: str) -> frozenset[Pool]:
        if not self._closed:
            return NO_POOLS
        found = self._closed_to.get(team)
        if found is None:
            found = self._closed.get(None, NO_POOLS) | self._closed.get(team, NO_POOLS)
            self._closed_to[team] = found
        return found

    def open_to(self, team: str, options: tuple[Option, ...]) -> tuple[Option, ...]:
        """Those that are not closed altogether to the team."""
        if not self._closed:
            return options
        found = self._open.get((team, options))
        if found is None:
            closed = self.closed_to(team)
            found = tuple(option for option in options if not option.variant.pools <= closed)
            self._open[team, options] = found
        return found

    def closed_by(self, team: str) -> Workload:
        return self._closed_by.get(None) or self._closed_by[team]

    def _turn(self, team: str) -> tuple[int, float, float, str, str]:
        priority, queued_at, job = self._teams[team][-1].standing
        return priority, self.book.share(team), queued_at, job, team


def _standing(entry: Entry) -> Standing:
    return entry.standing


def in_turn(lines: Iterable[Line]) -> Iterator[tuple[Line, Entry]]:
    """All jobs of all queues. The caller settles a job's fate before it asks for the next one."""
    heads = [(line.next_standing(), line) for line in lines if line]
    heapify(heads)
    while heads:
        _, line = heads[0]
        yield line, line.pop()
        line.settle()
        if line:
            heapreplace(heads, (line.next_standing(), line))
        else:
            heappop(heads)
