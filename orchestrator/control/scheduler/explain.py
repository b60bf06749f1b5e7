"""Puts together why a job that had its turn waits. Called by `turns`."""

from __future__ import annotations

from enum import IntEnum

from orchestrator.control.scheduler import waits
from orchestrator.control.scheduler.backfill import Slot
from orchestrator.control.scheduler.gangs import Gang
from orchestrator.control.scheduler.ledger import Seeker
from orchestrator.control.scheduler.order import Line
from orchestrator.control.scheduler.preemption import Relief
from orchestrator.control.scheduler.values import Workload
from orchestrator.records import Wait


class Why(IntEnum):
    """Why a job could not start at once. Of several answers, by where it might go, the largest."""

    CLOSED = 0  # an earlier job of its queue needs the same nodes and no place could be kept for it
    QUOTA = 1
    NO_ROOM = 2
    PROMISED = 3  # there is room, and it is promised to jobs that come first


def explain(line: Line, seeker: Seeker, why: Why, kept: Relief | Slot | None) -> tuple[Wait, ...]:
    """What is in its own way, then who comes before it."""
    if kept is not None:
        return (*_with_a_place(line, seeker, why, kept), *_before(line, seeker.workload))
    # Jobs that differ in nothing that is told share what they are told.
    workload = seeker.workload
    key = (why, _said_of(line, seeker.gang, why), workload.team, workload.priority)
    told = line.told.get(key)
    if told is None:
        told = line.told[key] = (
            (waits.closed(line.closed_by(workload.team)),)
            if why is Why.CLOSED
            else (_own(line, seeker, why), *_before(line, workload))
        )
    return told


def _said_of(line: Line, gang: Gang, why: Why) -> object:
    """What a sentence of this kind says of the gang."""
    if why is Why.QUOTA:
        return waits.counted(gang, line.book)
    return gang if why is Why.NO_ROOM else None


def _own(line: Line, seeker: Seeker, why: Why) -> Wait:
    if why is Why.QUOTA:
        return waits.quota(seeker.gang, line.book)
    if why is Why.PROMISED:
        return waits.promised()
    return waits.no_room(seeker.gang, [option.variant for option in seeker.options])


def _with_a_place(line: Line, seeker: Seeker, why: Why, kept: Relief | Slot) -> tuple[Wait, ...]:
    if isinstance(kept, Relief):
        return (waits.preempting(kept.parts),)
    place = waits.reserved(seeker.gang, kept.parts, None if kept.is_soonest else kept.starts_at)
    return (place,) if why is Why.NO_ROOM else (_own(line, seeker, why), place)


def _before(line: Line, workload: Workload) -> tuple[Wait, ...]:
    head = line.head
    if head is None or head is workload:
        return ()
    if head.team == workload.team or head.priority > workload.priority:
        if line.behind is None:
            line.behind = waits.behind(head)
        return (line.behind,)
    return (waits.fair_share(workload.team, head, line.book),)
