"""One scheduling cycle: a frozen snapshot in, decisions out. Called by the controller's loop.

`standings` is for people: where each waiting job stands in its queue.
"""

from __future__ import annotations

from math import inf

from orchestrator.control.scheduler import waits
from orchestrator.control.scheduler.accounts import Holding, plus
from orchestrator.control.scheduler.eligibility import Fitting, obstacles
from orchestrator.control.scheduler.gangs import Amount, Gang
from orchestrator.control.scheduler.ledger import Ledger, ends_of
from orchestrator.control.scheduler.order import Entry, Line, in_turn
from orchestrator.control.scheduler.share import QuotaBook
from orchestrator.control.scheduler.turns import Turns
from orchestrator.control.scheduler.values import Decisions, Snapshot, Workload
from orchestrator.records import Wait

Waits = dict[str, tuple[Wait, ...]]


def plan_cycle(snapshot: Snapshot) -> Decisions:
    """Who starts where, who gives way to whom, and why everyone else waits."""
    ledger = Ledger(snapshot)
    lines = _empty_lines(snapshot, ledger)
    # 1. Enter what is held: of nodes, of quotas, by teams.
    waiting = _enter_holders(snapshot, ledger, lines)
    # 2. Set aside those that cannot start whatever becomes free; the others form a line a queue.
    ledger.form_pools(gang for _, gang in waiting)
    told = _form_lines(waiting, ledger, lines)
    # 3. In turn: start it; or make room for it; or keep a place for it; or let it wait.
    turns = Turns(ledger, lines, snapshot.policy)
    for line, entry in in_turn(lines.values()):
        turns.serve(line, entry)
    # 4. Everyone who does not start is told why.
    return Decisions(
        admissions=tuple(turns.admissions),
        preemptions=tuple(turns.preemptions),
        reservations=tuple(turns.reservations),
        waits=told | turns.waits,
    )


def standings(snapshot: Snapshot) -> dict[str, int]:
    """job -> its place in the line of its queue, from 1.

    Each takes its place before the next is asked, so fair share alternates between teams as it will
    when they start. A job that could not start whatever became free stands in no line.
    """
    ledger = Ledger(snapshot)
    lines = _empty_lines(snapshot, ledger)
    waiting = _enter_holders(snapshot, ledger, lines)
    ledger.form_pools(gang for _, gang in waiting)
    _form_lines(waiting, ledger, lines)
    places: dict[str, int] = {}
    last = dict.fromkeys(lines, 0)
    for line, entry in in_turn(lines.values()):
        last[line.name] += 1
        workload = entry.workload
        places[workload.job] = last[line.name]
        holding = Holding(workload.job, entry.gang.total, inf, inf)
        line.book.hold(workload.team, holding, entry.options[0].variant.accelerator)
    return places


def _empty_lines(snapshot: Snapshot, ledger: Ledger) -> dict[str, Line]:
    cluster: Amount = (0, 0, 0)
    for site in ledger.sites.values():
        cluster = plus(cluster, site.capacity)
    return {queue.name: Line(QuotaBook(queue, cluster)) for queue in snapshot.queues}


def _enter_holders(
    snapshot: Snapshot, ledger: Ledger, lines: dict[str, Line]
) -> list[tuple[Workload, Gang]]:
    """Returns those that wait."""
    waiting = []
    for workload in snapshot.workloads:
        gang = ledger.gang(workload.demand)
        if workload.is_waiting:
            waiting.append((workload, gang))
        elif workload.placement:
            ends_at, soonest = ends_of(workload, snapshot.now)
            ledger.place(workload, gang, ends_at, soonest)
            line = lines.get(workload.queue)
            if line is not None:
                holding = Holding(workload.job, gang.total, ends_at, soonest)
                kind = ledger.kind_of(workload, gang)
                line.book.hold(workload.team, holding, kind, is_leaving=workload.is_stopping)
    return waiting


def _form_lines(
    waiting: list[tuple[Workload, Gang]], ledger: Ledger, lines: dict[str, Line]
) -> Waits:
    """Returns why those wait that have no turn."""
    told: Waits = {}
    fitting = Fitting(ledger)
    nowhere: Waits = {}
    for workload, gang in waiting:
        line = lines.get(workload.queue)
        if line is None:
            if workload.queue not in nowhere:
                nowhere[workload.queue] = (waits.unknown_queue(workload.queue),)
            told[workload.job] = nowhere[workload.queue]
            continue
        options = fitting.options(line, gang)
        fewer = tuple(fitting.fewer(line, workload))
        if isinstance(options, Wait) and fewer:  # all its workers fit nowhere: as many as may
            (gang, options), *rest = fewer
            fewer = tuple(rest)
        found = obstacles(workload, line, ledger.now)
        if isinstance(options, Wait):
            found = (*found, options)
        if found:
            told[workload.job] = found
        else:
            assert not isinstance(options, Wait), "it would have been found"
            line.add(Entry(workload, gang, options, fewer))
    for line in lines.values():
        line.begin()
    return told
