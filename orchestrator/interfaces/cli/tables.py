"""The final tables: what training changed on each domain. Called by `run` and `models show`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.output import printable

Metrics = Mapping[str, Mapping[str, Any]]
"""Domain -> what the worker measured on its test split."""


def plain_table(*headings: str, title: str | None = None) -> Table:
    """A table without a frame; headings that start with `>` are columns of figures."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    table.show_edge = False
    table.pad_edge = False
    for heading in headings:
        is_figure = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"),
            justify="right" if is_figure else "left",
            no_wrap=is_figure,
            overflow="fold",
            header_style="dim",
        )
    return table


def labelled(rows: Iterable[tuple[str, str]]) -> Table:
    """Names on the left, what they are on the right, wrapped there."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(name, Text(printable(text)))
    return grid


def metrics_table(after: Metrics, before: Metrics, metrics: Sequence[str]) -> Table:
    """One row for each domain and metric, with its floor where what asks no model has a figure.

    The gain is coloured by whether it is one, which for a loss means less.
    """
    from orchestrator.specs.metrics import floor_of

    has_floor = any(
        floor_of(values, metric) is not None for values in after.values() for metric in metrics
    )
    headings = ["domain", "metric", ">after", ">95 % interval", ">rows"]
    if has_floor:
        headings[4:4] = [">floor"]
    if before:
        headings[2:2] = [">before"]
        headings[4:4] = [">gain"]
    table = plain_table(*headings)
    table.columns[1].no_wrap = True
    for domain, values in after.items():
        first = True
        for metric in metrics:
            cells = [domain if first else "", metric]
            if before:
                cells.append(figures.score(before.get(domain, {}).get(metric)))
            cells.append(figures.score(values.get(metric)))
            row: list[str | Text] = [*cells]
            if before:
                row.append(_gain(before.get(domain, {}).get(metric), values.get(metric), metric))
            row.append(interval(values, metric))
            if has_floor:
                row.append(figures.score(floor_of(values, metric)))
            row.append(f"{values['num_rows']:,}" if first and "num_rows" in values else "")
            table.add_row(*row)
            first = False
    return table


def interval(values: Mapping[str, Any], metric: str) -> str:
    bounds = values.get("intervals", {}).get(metric)
    if not bounds:
        return figures.NOTHING
    low, high = bounds
    return f"{figures.score(low)} to {figures.score(high)}"


def gains(after: Metrics, before: Metrics, metric: str) -> dict[str, float]:
    """Domain -> after minus before, where both were measured."""
    return {
        domain: values[metric] - before[domain][metric]
        for domain, values in after.items()
        if _is_number(values.get(metric)) and _is_number(before.get(domain, {}).get(metric))
    }


def _gain(before: object, after: object, metric: str) -> Text:
    from orchestrator.specs.metrics import METRIC_NAMES, METRICS_TO_MINIMIZE

    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return Text(figures.NOTHING)
    change = after - before
    better = change < 0 if metric in METRICS_TO_MINIMIZE else change > 0
    known = metric in METRIC_NAMES  # of a user's own nobody knows which way is better
    style = "" if abs(change) < 0.0005 or not known else "green" if better else "red"
    return Text(figures.score(change, signed=True), style=style)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
