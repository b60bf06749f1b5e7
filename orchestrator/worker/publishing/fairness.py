"""The model card's part on groups: where figures differ most, and how sure that is.

Called by `publishing.card` for a model whose test splits were sliced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.worker.evaluation.slices import MIN_ROWS

_SHOWN = 12


def fairness_part(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table of gaps; no lines where nothing was sliced."""
    header = ["domain", "slice", "group", "rows", "metric", "group's", "others'", "gap"]
    lines = [
        [
            domain,
            gap["slice"],
            _cell(gap["group"]),
            str(gap["num_rows"]),
            gap["metric"],
            f"{gap['value']:.3f}",
            f"{gap['others']:.3f}",
            _gap(gap),
        ]
        for domain, gap in _gaps(metrics)
    ]
    return header, lines[:_SHOWN]


def fairness_note(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """What the table says and what it does not."""
    compared = sum(
        len(figures.get("gaps", {}))
        for values in metrics.values()
        for kind in ("slices", "slices_written")
        for groups in values.get(kind, {}).values()
        for figures in groups.values()
    )
    clear = sum(_is_clear(gap) for _, gap in _gaps(metrics))
    return (
        f"The largest gaps of {compared} comparisons on test, each of a group with all other rows "
        "of its domain, with 95 % bootstrap intervals of the difference. "
        f"{clear} of those listed lie apart from 0; of comparisons without any difference one in "
        f"twenty would. Groups of fewer than {MIN_ROWS} rows are not compared. All figures are in "
        "metrics.json."
    )


def _gaps(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of all domains, those apart from 0 first, then by size."""
    found = [(domain, gap) for domain, values in metrics.items() for gap in values.get("gaps", [])]
    yield from sorted(
        found,
        key=lambda entry: (
            not _is_clear(entry[1]),
            -abs(entry[1]["gap"]) / max(abs(entry[1]["others"]), 1.0),
        ),
    )


def _is_clear(gap: Mapping[str, Any]) -> bool:
    low, high = gap.get("interval", (0.0, 0.0))
    return not low <= 0 <= high


def _gap(gap: Mapping[str, Any]) -> str:
    text = f"{gap['gap']:+.3f}"
    if "interval" in gap:
        low, high = gap["interval"]
        text += f" [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if _is_clear(gap) and gap["is_worse"] else text


def _cell(text: str) -> str:
    """A value of somebody's data as a cell of a table."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())[:60]
