"""The same figures for groups of a test split, and how far each lies from the other rows.

Called where the figures of a test split are made. A gap is a group's figure less that of all other
rows of the split; its interval is a percentile bootstrap in which the group and the others are
resampled each for themselves (Efron & Tibshirani 1993, ch. 16).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator.inspect.labels import LABEL, set_of
from orchestrator.inspect.messages import messages_of
from orchestrator.inspect.values import EXTRA, is_extra
from orchestrator.specs import METRICS_TO_MINIMIZE, SliceSpec
from orchestrator.specs.task import MESSAGES
from orchestrator.worker.evaluation.resampling import percentiles
from orchestrator.worker.evaluation.sums import RowSums

MIN_ROWS = 20  # of a group and of the others: with fewer a gap says nothing
MOST_GROUPS = 20  # of a column, the largest ones
LARGEST_GAPS = 10
OTHERS = "(other values)"
NONE_OF_THEM = "(none of the terms)"
_WRITTEN = frozenset({LABEL, "target", "summary", "completion"})
"""Roles a model is to find; all others it reads."""

Groups = dict[str, np.ndarray]
"""Group -> mask of its rows; a row may be in several groups of terms."""


def groups_of(entry: SliceSpec, table: pa.Table) -> Groups:
    """The groups into which one way of slicing cuts the rows, in a fixed order."""
    if entry.column is not None:
        return _by_value(table.column(f"{EXTRA}{entry.column}").to_pylist())
    if entry.label:
        return _by_label(table.column(LABEL).to_pylist())
    texts = read_texts(table)
    if entry.terms is not None:
        return _by_term(texts, entry.terms)
    assert entry.lengths is not None, "a slice is cut in one of four ways"
    return _by_length(texts, entry.lengths)


def read_texts(table: pa.Table) -> list[str]:
    """What a model reads of each row; of a chat what everybody says."""
    roles = [name for name in table.column_names if name not in _WRITTEN and not is_extra(name)]
    columns = [table.column(role).to_pylist() for role in roles]
    if MESSAGES in roles:
        at = roles.index(MESSAGES)
        columns[at] = [" ".join(m["content"] for m in messages_of(v)) for v in columns[at]]
    return [" ".join(parts) for parts in zip(*columns, strict=True)]


def _by_value(values: Sequence[str]) -> Groups:
    found = np.array(values, dtype=object)
    names, counts = np.unique(found.astype(str), return_counts=True)
    by_rows = sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda n: (-n[1], n[0]))
    shown = [name for name, _ in by_rows[:MOST_GROUPS]]
    groups = {name: found == name for name in shown}
    if len(by_rows) > MOST_GROUPS:
        groups[OTHERS] = ~np.isin(found.astype(str), shown)
    return groups


def _by_label(labels: Sequence[str]) -> Groups:
    """Of sets of labels: the rows that have each."""
    try:
        sets = [set(set_of(label)) for label in labels]
    except (ValueError, TypeError):  # names of classes
        return _by_value(labels)
    names = sorted(set().union(*sets))
    return {name: np.array([name in has for has in sets], dtype=bool) for name in names}


def _by_term(texts: Sequence[str], terms: Mapping[str, Sequence[str]]) -> Groups:
    groups: Groups = {}
    for group, words in terms.items():
        either = "|".join(re.escape(word) for word in words)
        pattern = re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
        groups[group] = np.array([pattern.search(text) is not None for text in texts], dtype=bool)
    groups[NONE_OF_THEM] = ~np.any(list(groups.values()), axis=0)
    return groups


def _by_length(texts: Sequence[str], starts: Sequence[int]) -> Groups:
    words = np.array([len(text.split()) for text in texts], dtype=np.int64)
    bands = np.searchsorted(np.array(starts), words, side="right")
    names = [
        f"below {starts[0]} words",
        *(f"{low}-{high - 1} words" for low, high in pairwise(starts)),
        f"{starts[-1]} words or more",
    ]
    return {name: bands == number for number, name in enumerate(names)}


def sliced_figures(
    slices: Mapping[str, SliceSpec], table: pa.Table, sums: RowSums, num_samples: int, seed: int
) -> dict[str, Any]:
    """`slices` (way -> group -> figures) and `gaps`: the largest ones of the split.

    Args:
        slices: The ways to cut the rows.
        table: The rows.
        sums: Of the same rows.
        num_samples: Of the bootstrap; 0: no intervals.
        seed: Of the bootstrap.
    """
    found: dict[str, Any] = {}
    gaps: list[dict[str, Any]] = []
    for way, entry in slices.items():
        found[way] = {}
        for group, mask in groups_of(entry, table).items():
            num_rows = int(mask.sum())
            if not num_rows:
                continue
            figures: dict[str, Any] = {"num_rows": num_rows, **sums.of(mask)}
            if entry.label:
                figures.pop("macro_f1", None)  # of rows of one class it only repeats accuracy
            found[way][group] = figures
            if min(num_rows, len(mask) - num_rows) >= MIN_ROWS:
                drawn = seed + zlib.crc32(f"{way}/{group}".encode())
                figures["gaps"] = _gaps(sums, mask, figures, num_samples, drawn)
                gaps += _listed(way, group, figures)
    return {"slices": found, "gaps": largest_gaps(gaps)}


def _gaps(
    sums: RowSums, mask: np.ndarray, figures: dict[str, Any], num_samples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """metric -> its value among the others, the gap and its interval."""
    others = sums.of(~mask)
    names = [name for name in others if name in figures]
    gaps: dict[str, dict[str, Any]] = {
        name: {"others": others[name], "gap": figures[name] - others[name]} for name in names
    }
    if num_samples > 1:
        inside = sums.resampled(mask, num_samples, seed)
        outside = sums.resampled(~mask, num_samples, seed + 1)
        for name in names:
            gaps[name]["interval"] = percentiles(inside[name] - outside[name])
    return gaps


def _listed(way: str, group: str, figures: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for metric, gap in figures["gaps"].items():
        yield {
            "slice": way,
            "group": group,
            "num_rows": figures["num_rows"],
            "metric": metric,
            "value": figures[metric],
            **gap,
            "is_worse": gap["gap"] > 0 if metric in METRICS_TO_MINIMIZE else gap["gap"] < 0,
        }


def largest_gaps(gaps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The largest first; those whose interval holds 0 behind all others."""

    def order(gap: dict[str, Any]) -> tuple[bool, float]:
        low, high = gap.get("interval", (1.0, 1.0))
        scale = max(abs(gap["others"]), 1.0)  # a perplexity's gap is no share
        return (low <= 0 <= high, -abs(gap["gap"]) / scale)

    return sorted(gaps, key=order)[:LARGEST_GAPS]
