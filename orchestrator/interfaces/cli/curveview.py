"""K-shot curves as a table. Called by `run` and `models show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.tables import plain_table

PUBLISHED = "published"


def curves_table(adaptation: Mapping[str, Any]) -> Table:
    """One row for each domain and number of rows: every start, and what the published gain.

    Each with its 95 % interval; a gain whose interval does not hold 0 stands out.
    """
    metric, starts = adaptation["metrics"][0], adaptation["starts"]
    others = [start for start in starts if start != PUBLISHED]
    table = plain_table(
        *("domain", ">rows", *(f">{start}" for start in starts)),
        *(f">over {start}" for start in others),
        title=f"{metric} after learning from a few rows of each class",
    )
    points = {(p["domain"], p["shots"], p["start"]): p for p in adaptation["points"]}
    told = None
    for domain, shots in dict.fromkeys((domain, shots) for domain, shots, _ in points):
        gains = points[domain, shots, PUBLISHED]["gain"]
        table.add_row(
            domain if domain != told else "",
            str(shots),
            *(_cell(points[domain, shots, start]["metrics"][metric]) for start in starts),
            *(_cell(gains[start][metric], gain=True) for start in others),
        )
        told = domain
    return table


def _cell(found: Mapping[str, Any], *, gain: bool = False) -> str:
    low, high = found["interval"]
    half = (high - low) / 2
    mean = f"{found['mean']:+.3f}" if gain else figures.score(found["mean"])
    return f"{mean} ±{half:.3f}"
