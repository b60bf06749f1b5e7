"""Everything about one job as a person reads it, the most wanted first. Called by `show`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures, jobtexts
from orchestrator.interfaces.cli.output import printable
from orchestrator.interfaces.cli.tables import labelled, metrics_table, plain_table
from orchestrator.records import Attempt, JobState

if TYPE_CHECKING:
    from orchestrator.interfaces.wire import JobView

_LIVE = (JobState.STARTING, JobState.RUNNING, JobState.STOPPING)


def job_views(
    job: JobView,
    attempts: Sequence[Attempt],
    plan: Mapping[str, Any],
    metrics: Sequence[str],
    now: float,
) -> Iterator[RenderableType]:
    """What is printed, in order.

    Args:
        job: As it is now.
        attempts: All of its Attempts, by number.
        plan: What it was admitted with.
        metrics: Names of those its spec shows.
        now: Seconds since the epoch.
    """
    yield _head(job)
    yield labelled([*_standing(job, attempts, now), *_facts(job, plan, now)])
    if attempts:
        yield Text()
        yield _attempts_table(attempts, now)
        yield from _messages(attempts)
    measured = next(
        (a.outcome for a in reversed(attempts) if a.outcome and a.outcome.metrics), None
    )
    if measured is not None:
        names = metrics or tuple(dict.fromkeys(n for row in measured.metrics.values() for n in row))
        yield Text()
        yield metrics_table(measured.metrics, measured.before, names)


def next_command(job: JobView) -> str | None:
    """What one would most likely type next."""
    match job.state:
        case JobState.FAILED | JobState.CANCELLED:
            return f"orchestrator retry {job.id}"
        case JobState.SUSPENDED:
            return f"orchestrator resume {job.id}"
        case _ if job.state in _LIVE:
            return f"orchestrator logs -f {job.id}"
    return None


def _head(job: JobView) -> Text:
    about = jobtexts.about_state(job)
    state = (str(job.state), f"bold {jobtexts.COLOURS[job.state]}")
    head = Text.assemble((job.name, "bold"), "  ", state, f"  {about}".rstrip())
    head.append(f"\n{job.id}\n", style="dim")
    return head


def _standing(job: JobView, attempts: Sequence[Attempt], now: float) -> Iterator[tuple[str, str]]:
    """How it is, and why."""
    if job.message:
        yield "Message", job.message
    outcome = attempts[-1].outcome if attempts else None
    if outcome is not None and outcome.hint and job.state is JobState.FAILED:
        yield "Hint", outcome.hint
    if job.state in _LIVE and (why := jobtexts.why(job)) is not None:
        yield "Note", why
    if job.state is JobState.QUEUED:
        for number, wait in enumerate(job.waits):
            yield "" if number else "Waits", f"{wait.message} {wait.remedy}".strip()
        if job.not_before is not None and job.not_before > now:
            yield "Next try", f"in {figures.duration(job.not_before - now)}"
    if job.progress is not None and job.state in _LIVE:
        yield "Progress", _progress(job, now)
    if job.model is not None:
        yield "Model", job.model


def _progress(job: JobView, now: float) -> str:
    progress = job.progress
    assert progress is not None
    parts = [jobtexts.phase(progress) or "starting"]
    if (loss := progress.metrics.get("loss")) is not None:
        parts.append(f"loss {loss:.4f}")
    if (left := jobtexts.time_left(progress, now)) is not None:
        parts.append(f"about {figures.duration(left)} of training left")
    if progress.checkpoint_step is not None:
        parts.append(f"saved at step {progress.checkpoint_step}")
    if progress.reported_at is not None:
        parts.append(f"heard of {figures.age(now - progress.reported_at)}")
    return ", ".join(parts)


def _facts(job: JobView, plan: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    yield "Queue", f"{job.queue}, {jobtexts.priority(job)} priority"
    yield "Team", f"{job.team}, submitted by {job.created_by}"
    yield "Gang", jobtexts.demand(job)
    if job.labels:
        yield "Labels", ", ".join(f"{key}={value}" for key, value in job.labels.items())
    if job.after:
        yield "After", ", ".join(job.after)
    yield "Submitted", f"{_moment(job.created_at)}, {figures.age(now - job.created_at)}"
    if job.started_at is not None:
        waited = figures.duration(job.started_at - job.created_at)
        yield "Started", f"{_moment(job.started_at)}, after {waited}"
    if job.finished_at is not None:
        began = job.started_at if job.started_at is not None else job.created_at
        took = figures.duration(job.finished_at - began)
        yield "Ended", f"{_moment(job.finished_at)}, after {took}"
    if planned := ", ".join(_planned(plan)):
        yield "Plan", planned
    yield "Store", job.store


def _planned(plan: Mapping[str, Any]) -> Iterator[str]:
    """The figures of a plan that are compared with what comes; a custom task has none."""
    if seconds := (plan.get("time") or {}).get("total_seconds"):
        yield f"about {figures.duration(seconds)}"
    if steps := (plan.get("steps") or {}).get("total"):
        yield f"{steps:,} steps"
    if memory := (plan.get("memory") or {}).get("worker_bytes"):
        yield f"{figures.size(memory)} a worker"
    if trained := plan.get("trainable_parameters"):
        total = figures.count(plan.get("total_parameters") or trained)
        yield f"{figures.count(trained)} of {total} parameters"


def _attempts_table(attempts: Sequence[Attempt], now: float) -> Table:
    table = plain_table(">try", "how", "on", ">took", ">step", ">saved")
    for attempt in attempts:
        table.add_row(
            str(attempt.number),
            Text(_how(attempt), style=_style(attempt)),
            _where(attempt),
            _took(attempt, now),
            _step(attempt),
            figures.NOTHING if attempt.checkpoint_step is None else str(attempt.checkpoint_step),
        )
    return table


def _how(attempt: Attempt) -> str:
    if attempt.outcome is None:
        return str(attempt.state)
    outcome = attempt.outcome
    rank = "" if outcome.rank is None else f", rank {outcome.rank}"
    return f"{outcome.state} {outcome.reason}{rank}"


def _style(attempt: Attempt) -> str:
    return jobtexts.COLOURS[attempt.outcome.state] if attempt.outcome is not None else ""


def _where(attempt: Attempt) -> str:
    """`local: node-1 × 2, node-2`."""
    nodes = ", ".join(
        part.node if part.workers == 1 else f"{part.node} × {part.workers}"
        for part in attempt.placement
    )
    return f"{attempt.backend}: {nodes}" if nodes else attempt.backend


def _took(attempt: Attempt, now: float) -> str:
    until = attempt.ended_at if attempt.ended_at is not None else now
    return figures.duration(until - attempt.created_at)


def _step(attempt: Attempt) -> str:
    if attempt.step is None:
        return figures.NOTHING
    return f"{attempt.step}/{attempt.max_steps}" if attempt.max_steps else str(attempt.step)


def _messages(attempts: Sequence[Attempt]) -> Iterator[RenderableType]:
    """What the attempts that failed said, besides the one the job's own message is from."""
    for attempt in attempts[:-1]:
        if attempt.outcome is not None and attempt.outcome.message:
            told = printable(f"{attempt.number}: {attempt.outcome.message}")
            yield Padding(Text(told, style="dim"), (0, 0, 0, 2), expand=False)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
