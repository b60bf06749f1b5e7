"""What a Report changes about its Attempt: a function of values, without a database.

Called by `Attempts.report`. Reports are hints that come late, twice or not at all, so each rank's
sequence is remembered, and live curves are kept to a size by taking every second point, then every
fourth and so on. The whole history is in the object store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from pydantic_core import to_json

from orchestrator.records import Attempt, Record, Report

MAX_METRICS = 500
"""Names that an attempt's newest metrics keep: a script may make up new ones with every step."""

MAX_POINTS = 2000
"""Points of one series of an attempt."""

SERIES = ("training", "evaluation")
"""Thinned apart: evaluations are few, and none is lost to the steps between them."""


class Series(Record):
    """How much of one series has arrived."""

    seen: int = 0
    last: str = Field(default="", description="Step and metrics; a heartbeat repeats them.")


class Intake(Record):
    """What has to be remembered between the Reports of an Attempt."""

    sequences: dict[int, int] = Field(
        default_factory=dict, description="rank -> sequence of its newest Report."
    )
    series: dict[str, Series] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewPoint:
    """A point that arrived: kept, if its number is a multiple of `stride`."""

    series: str
    ordinal: int
    step: int
    metrics: dict[str, float]
    stride: int
    is_thinning: bool  # the stride has just doubled: of the points before, every second goes

    @property
    def is_kept(self) -> bool:
        return self.ordinal % self.stride == 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A Report that was news."""

    updates: dict[str, Any]  # of columns of the attempt
    points: tuple[NewPoint, ...]


def hear(attempt: Attempt, intake: Intake, report: Report, now: float) -> Heard | None:
    """What a Report says that was not known; None: it is repeated or overtaken."""
    if report.sequence <= intake.sequences.get(report.rank, -1):
        return None
    sequences = {**intake.sequences, report.rank: report.sequence}
    updates: dict[str, Any] = {"reported_at": now}
    points: tuple[NewPoint, ...] = ()
    series = dict(intake.series)
    if report.rank == 0:
        updates |= _progress(attempt, report, now)
        if report.step is not None:
            points = tuple(_points(series, report.step, report.metrics))
            for point in points:
                text = _text(point.step, point.metrics)
                series[point.series] = Series(seen=point.ordinal + 1, last=text)
    updates["intake"] = Intake(sequences=sequences, series=series).model_dump()
    return Heard(updates, points)


def stride(seen: int) -> int:
    """Of so many points every how-many-th is kept: a power of two."""
    found = 1
    while -(-seen // found) > MAX_POINTS:
        found *= 2
    return found


def _progress(attempt: Attempt, report: Report, now: float) -> dict[str, Any]:
    step = attempt.step if report.step is None else report.step
    phase = str(report.phase)
    has_moved = (phase, step) != (attempt.phase, attempt.step)
    updates: dict[str, Any] = {
        "phase": phase,
        "step": step,
        "max_steps": attempt.max_steps if report.max_steps is None else report.max_steps,
        "metrics": _merged(attempt.metrics, report.metrics),
        "progressed_at": now if has_moved else attempt.progressed_at,
    }
    if report.checkpoint_step not in (None, attempt.checkpoint_step):
        updates |= {"checkpoint_step": report.checkpoint_step, "checkpoint_at": now}
    return updates


def _merged(known: Mapping[str, float], said: Mapping[str, float]) -> dict[str, float]:
    """Both, the newest values first to stay where they are too many."""
    merged = {**known, **said}
    if len(merged) <= MAX_METRICS:
        return merged
    newest = [*said, *(name for name in known if name not in said)][:MAX_METRICS]
    return {name: merged[name] for name in newest}


def _points(known: Mapping[str, Series], step: int, metrics: Mapping[str, float]) -> list[NewPoint]:
    """One for each series the Report has news of; evaluations are named `<domain>/<metric>`."""
    found = []
    for name in SERIES:
        part = {m: v for m, v in metrics.items() if ("/" in m) == (name == "evaluation")}
        series = known.get(name, Series())
        if not part or _text(step, part) == series.last:
            continue
        before, after = stride(series.seen), stride(series.seen + 1)
        found.append(NewPoint(name, series.seen, step, part, after, after > before))
    return found


def _text(step: int, metrics: Mapping[str, float]) -> str:
    """For comparing: as a number, NaN is not even equal to itself."""
    return to_json([step, metrics], inf_nan_mode="constants").decode()
