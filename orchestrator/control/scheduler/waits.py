"""Why a job waits, in sentences for people, each with what would make the job start.

Sentences say what holds for all jobs in the same position, so that thousands of jobs share one
Wait and a cycle that changes nothing also says nothing new. Called by `cycle` and `eligibility`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from orchestrator.control.scheduler.gangs import MILLI, Gang
from orchestrator.control.scheduler.ledger import Parts, Variant
from orchestrator.control.scheduler.share import UNLIMITED, QuotaBook
from orchestrator.control.scheduler.values import Workload
from orchestrator.records import Wait, WaitReason

MANY = 3
"""More names than this are counted instead."""


def no_nodes() -> Wait:
    return Wait(
        reason=WaitReason.BACKEND_AWAY,
        message="No node of any backend can be reached.",
        remedy="It starts when a backend with room for it is back.",
    )


def not_before(time: float) -> Wait:
    return Wait(
        reason=WaitReason.NOT_BEFORE,
        message=f"Its next attempt does not begin before {clock(time)}.",
        remedy="It stands in line again from then on, at its old place.",
    )


def unknown_queue(name: str) -> Wait:
    return Wait(
        reason=WaitReason.UNKNOWN_QUEUE,
        message=f"There is no queue named {name}.",
        remedy="Create the queue, or submit the job to one that exists.",
    )


def paused(name: str) -> Wait:
    return Wait(
        reason=WaitReason.QUEUE_PAUSED,
        message=f"The queue {name} is paused.",
        remedy="It stands in line again once the queue is resumed.",
    )


def never_fits(gang: Gang, most: int, kinds: Sequence[str]) -> Wait:
    """`most` of its workers fit the nodes at best; `kinds` are those of the cluster's GPUs."""
    if most:
        remedy = f"Ask for {most} at most, or for less of each, or add nodes."
    elif gang.accelerator is not None and gang.accelerator not in kinds:
        remedy = f"Ask for another kind of GPU: there is {', '.join(kinds) or 'none'}."
    else:
        remedy = "No node holds even one: ask for less of each, or add such nodes."
    return Wait(
        reason=WaitReason.NEVER_FITS,
        message=f"Of {describe(gang)}, {most} would fit even if the cluster were empty.",
        remedy=remedy,
    )


def fits_drained(gang: Gang, most: int, drained: Sequence[str]) -> Wait:
    """It would fit with nodes that are there and take nothing new."""
    return Wait(
        reason=WaitReason.NO_ROOM,
        message=f"Of {describe(gang)}, {most} fit without {names(drained)}, which "
        f"{'take' if len(drained) > 1 else 'takes'} no new work.",
        remedy="It stands in line again once new work is let onto such nodes.",
    )


def never_in_quota(gang: Gang, book: QuotaBook) -> Wait:
    return Wait(
        reason=WaitReason.QUOTA,
        message=f"It needs {counted(gang, book)}; the whole quota of queue {book.queue.name} is "
        f"{_quota(book)}.",
        remedy="Ask for less, use another queue, or have the quota raised.",
    )


def quota(gang: Gang, book: QuotaBook) -> Wait:
    return Wait(
        reason=WaitReason.QUOTA,
        message=f"It needs {counted(gang, book)}; of the quota of queue {book.queue.name} "
        f"({_quota(book)}) less is left.",
        remedy="It can start when jobs of the queue end.",
    )


def no_room(gang: Gang, variants: Iterable[Variant]) -> Wait:
    if gang.wants_gpus:
        free = sum(variant.free()[2] for variant in variants)
        now = f"{free} such {'GPU is' if free == 1 else 'GPUs are'} free"
    else:
        free = sum(variant.free()[0] for variant in variants)
        now = f"{number(free)} {'core is' if free == MILLI else 'cores are'} free"
    return Wait(
        reason=WaitReason.NO_ROOM,
        message=f"There is no room for {describe(gang)} at once ({now}).",
        remedy="It can start when jobs that run now end.",
    )


def reserved(gang: Gang, parts: Parts, starts_at: float | None) -> Wait:
    where = names([site.name for site, _ in parts])
    when = (
        "when jobs there end that do not say when they will"
        if starts_at is None
        else f"at {clock(starts_at)} or sooner"
    )
    return Wait(
        reason=WaitReason.NO_ROOM,
        message=f"There is no room for {describe(gang)} yet; {where} is kept for it.",
        remedy=f"It is expected to start {when}.",
    )


def preempting(parts: Parts) -> Wait:
    where = names([site.name for site, _ in parts])
    return Wait(
        reason=WaitReason.PREEMPTING,
        message=f"Jobs on {where} are saving and stopping; their place is kept for it.",
        remedy="It starts as soon as they have stopped.",
    )


def promised() -> Wait:
    return Wait(
        reason=WaitReason.BEHIND,
        message="There is room for it, but jobs that come first would have to wait for its end.",
        remedy="It can start when they have started; a shorter job could start before them.",
    )


def closed(head: Workload) -> Wait:
    return Wait(
        reason=WaitReason.BEHIND,
        message=f"{head.job} comes first in queue {head.queue} and needs the same nodes.",
        remedy=f"It stands in line after {head.job}.",
    )


def behind(head: Workload) -> Wait:
    return Wait(
        reason=WaitReason.BEHIND,
        message=f"{head.job} comes first in queue {head.queue}: priority {head.priority}, "
        f"queued {clock(head.queued_at)}.",
        remedy="It starts before that one only where it does not delay it.",
    )


def fair_share(team: str, head: Workload, book: QuotaBook) -> Wait:
    return Wait(
        reason=WaitReason.FAIR_SHARE,
        message=f"Team {head.team} holds {book.share(head.team):.0%} of queue {head.queue} for its "
        f"weight, team {team} {book.share(team):.0%}: {head.job} comes first.",
        remedy=f"Its turn comes when team {team} holds less than team {head.team}.",
    )


def fewer(workload: Workload, gang: Gang, now: float) -> tuple[Wait, ...]:
    """What a job that may have fewer workers waits with, or will."""
    demand = workload.demand
    if not demand.fewer:
        return ()
    if gang.workers < demand.workers:
        message = f"It waits with {gang.workers} workers: its {demand.workers} fit nowhere."
    elif workload.shrinks_at is None or workload.shrinks_at > now:
        if workload.shrinks_at is None:
            return ()
        message = f"From {clock(workload.shrinks_at)} on it takes {_or_fewer(demand.fewer)}."
    else:
        message = f"It would take {_or_fewer(demand.fewer)} by now, and they have no room either."
    remedy = "resources.min_workers says how few will do."
    return (Wait(reason=WaitReason.FEWER_WORKERS, message=message, remedy=remedy),)


def _or_fewer(sizes: Sequence[int]) -> str:
    most = f"{sizes[0]} worker{'s' * (sizes[0] > 1)}"
    return f"{most}, at the least {sizes[-1]}" if len(sizes) > 1 else most


def describe(gang: Gang) -> str:
    cpu, memory, gpu = gang.part
    kind = f" {gang.accelerator}" if gang.accelerator else ""
    parts = [f"{gpu}{kind} GPU{'s' * (gpu > 1)}"] if gpu else []
    if cpu:
        parts.append(f"{number(cpu)} core{'s' * (cpu > MILLI)}")
    if memory:
        parts.append(f"{memory / 1e9:.3g} GB")
    each = " each" if gang.workers > 1 else ""
    workers = (
        f"{gang.workers} worker{'s' * (gang.workers > 1)} with {', '.join(parts) or 'nothing'}"
    )
    labels = ", ".join(f"{name}={value}" for name, value in gang.labels.items())
    return f"{workers}{each}" + (f" on nodes labelled {labels}" if labels else "")


def counted(gang: Gang, book: QuotaBook) -> str:
    """What it needs of the things that the quota limits."""
    cpu, memory, gpu = gang.total
    limits = book.limits
    parts = [f"{gpu} GPU{'s' * (gpu != 1)}"] if limits[2] < UNLIMITED or book.kind_limits else []
    if limits[0] < UNLIMITED:
        parts.append(f"{number(cpu)} core{'s' * (cpu != MILLI)}")
    if limits[1] < UNLIMITED:
        parts.append(f"{memory / 1e9:.3g} GB")
    return ", ".join(parts)


def _quota(book: QuotaBook) -> str:
    cpu, memory, gpu = book.limits
    parts = [f"{gpu} GPUs"] if gpu < UNLIMITED else []
    parts += [f"{limit} {kind} GPUs" for kind, limit in book.kind_limits.items()]
    if cpu < UNLIMITED:
        parts.append(f"{number(cpu)} cores")
    if memory < UNLIMITED:
        parts.append(f"{memory / 1e9:.3g} GB")
    return ", ".join(parts)


def number(thousandths: int) -> str:
    return f"{thousandths / MILLI:g}"


def names(all_names: Sequence[str]) -> str:
    if len(all_names) <= MANY:
        return ", ".join(all_names)
    return f"{', '.join(all_names[: MANY - 1])} and {len(all_names) - MANY + 1} more"


def clock(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
