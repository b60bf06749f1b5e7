"""A comparison as a person reads it: what went in differently, then what came of it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures, jobtexts
from orchestrator.interfaces.cli.comparing import (
    Comparison,
    Curve,
    Difference,
    Measured,
    Side,
)
from orchestrator.interfaces.cli.tables import plain_table

BLOCKS = "▁▂▃▄▅▆▇█"
SPARK_COLUMNS = 20
MOST_STEPS = 8
_OF_SPEED = ("learning_rate", "grad_norm", "samples_per_second", "tokens_per_second", "mfu")


def comparison_views(a: Side, b: Side, found: Comparison) -> Iterator[RenderableType]:
    """What is printed, in order."""
    yield _heads(a, b)
    for title, differences, same in (
        ("Spec", found.spec, "the same"),
        ("Data and base", found.data, "the same bytes"),
        ("Environment", found.environment, "the same"),
    ):
        yield Text()
        if differences:
            yield _differences_table(title, differences)
        else:
            yield Text.assemble((title, "bold"), f": {same}")
    for side in (a, b):
        if not side.packages:
            told = f"Packages are not compared: {side.job.id} published nothing that tells them."
            yield Text(told, style="dim")
            break
    shown = _shown_metrics(a, b)
    if any(any(pair) for pair in found.curves.values()):
        yield Text()
        yield _curves_table(found, shown)
        if (table := _loss_table(found)) is not None:
            yield Text()
            yield table
    if metrics := [row for row in found.metrics if row.metric in shown or not shown]:
        yield Text()
        yield _metrics_table(metrics)


def _shown_metrics(a: Side, b: Side) -> set[str]:
    """What either spec wants to see, of all that is measured; `--json` has the rest."""
    return {name for side in (a, b) for name in side.spec.spec.spec.evaluation.shown_metrics}


def _heads(a: Side, b: Side) -> Table:
    table = plain_table("", "a", "b")
    rows = (
        ("job", lambda side: side.job.id),
        ("name", lambda side: side.job.name),
        ("state", lambda side: f"{side.job.state} {jobtexts.about_state(side.job)}".rstrip()),
        ("trained", _trained),
        ("model", lambda side: side.job.model or figures.NOTHING),
    )
    for name, value in rows:
        table.add_row(Text(name, style="dim"), value(a), value(b))
    return table


def _trained(side: Side) -> str:
    if side.outcome is None or not side.outcome.seconds:
        return figures.NOTHING
    tries = "" if side.job.attempt == 1 else f" in {side.job.attempt} attempts"
    return figures.duration(sum(side.outcome.seconds.values())) + tries


def _differences_table(title: str, differences: Sequence[Difference]) -> Table:
    table = plain_table(title.lower(), "a", "b")
    for found in differences:
        table.add_row(found.path, _value(found.a), _value(found.b))
    return table


def _value(value: Any) -> str:
    if value is None:
        return figures.NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "[]"
    digest = re.fullmatch(r"([0-9a-f]{12})[0-9a-f]{28,52}(-dirty)?", str(value))
    return f"{digest[1]}{digest[2] or ''}" if digest else str(value)


def _curves_table(found: Comparison, shown: Collection[str]) -> Table:
    """Each curve over the same steps and between the same values, so that two can be compared."""
    table = plain_table("curve", "a", "b")
    for name, (a, b) in found.curves.items():
        domain, _, metric = name.rpartition("/")
        if name not in _OF_SPEED and (not domain or not shown or metric in shown):
            table.add_row(name, *(f"{spark(c, a, b)}\n{_range(c)}" for c in (a, b)))
    return table


def spark(curve: Curve, *all_of_them: Curve) -> str:
    """A curve in little blocks, on the axes of all of them; empty where it has no values."""
    points = [point for one in all_of_them for point in one if math.isfinite(point[1])]
    if not points:
        return ""
    last = max(step for step, _ in points)
    low, high = (limit(value for _, value in points) for limit in (min, max))
    columns: list[list[float]] = [[] for _ in range(SPARK_COLUMNS)]
    for step, value in curve:
        if math.isfinite(value):
            columns[min(SPARK_COLUMNS - 1, step * SPARK_COLUMNS // (last + 1))].append(value)
    while columns and not columns[-1]:
        columns.pop()
    drawn = " "
    for column in columns:  # where nothing was measured it is as it was
        drawn += _block(sum(column) / len(column), low, high) if column else drawn[-1]
    return drawn[1:]


def _block(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 0.0
    return BLOCKS[min(len(BLOCKS) - 1, int(share * len(BLOCKS)))]


def _range(curve: Curve) -> str:
    """`0.693 → 0.412 at step 40`."""
    if not curve:
        return figures.NOTHING
    (_, first), (step, last) = curve[0], curve[-1]
    return f"{figures.score(first)} → {figures.score(last)} at step {step}"


def _loss_table(found: Comparison) -> Table | None:
    """The loss at some of the steps that both have."""
    a, b = (dict(curve) for curve in found.curves.get("loss", ((), ())))
    common = sorted(a.keys() & b.keys())
    if not common:
        return None
    table = plain_table(">step", ">loss of a", ">loss of b", ">b − a")
    for step in _some(common):
        change = figures.score(b[step] - a[step], signed=True)
        table.add_row(str(step), figures.score(a[step]), figures.score(b[step]), change)
    return table


def _some(steps: Sequence[int]) -> list[int]:
    """At most eight, spread evenly, the first and the last among them."""
    if len(steps) <= MOST_STEPS:
        return list(steps)
    gap = (len(steps) - 1) / (MOST_STEPS - 1)
    return [steps[round(number * gap)] for number in range(MOST_STEPS)]


def _metrics_table(metrics: Sequence[Measured]) -> Table:
    table = plain_table("on test", "metric", ">a", ">b", ">b − a", "95 % intervals")
    told = ""
    for row in metrics:
        style = {None: "", True: "green", False: "red"}[row.is_better]
        change = Text(figures.score(row.change, signed=True), style=style)
        domain, told = ("" if row.domain == told else row.domain), row.domain
        apart = {None: figures.NOTHING, True: "overlap", False: "apart"}[row.overlap]
        table.add_row(domain, row.metric, figures.score(row.a), figures.score(row.b), change, apart)
    return table
