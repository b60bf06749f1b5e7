"""Figures of a model that gives each row a number, and those of always giving the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestrator.worker.evaluation.resampling import drawn_counts, percentiles


def regression_metrics(predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All figures of one split.

    Args:
        predictions: (rows, 1) or (rows,).
        labels: (rows,) of the true numbers.

    A correlation with what does not vary is 0. The floor always gives the split's own mean.
    """
    given, true = _columns(predictions, labels)
    once = np.ones((1, len(true)))
    figures = {name: float(values[0]) for name, values in _figures(given, true, once).items()}
    gap = np.abs(true - true.mean()).mean()
    return {
        "num_rows": len(true),
        "loss": figures["rmse"] ** 2,
        **figures,
        "constant_rmse": float(true.std()),
        "constant_mae": float(gap),
        "constant_r2": 0.0,
        "constant_pearson": 0.0,
        "constant_spearman": 0.0,
        "constant_loss": float(true.var()),
        "label_mean": float(true.mean()),
        "label_std": float(true.std()),
    }


def regression_intervals(
    predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
) -> dict[str, list[float]]:
    """Percentile bootstrap over rows; empty for 0 samples."""
    if num_samples == 0 or len(labels) == 0:
        return {}
    given, true = _columns(predictions, labels)
    drawn: dict[str, list[np.ndarray]] = {}
    for counts in drawn_counts(len(true), num_samples, seed):
        for name, values in _figures(given, true, counts).items():
            drawn.setdefault(name, []).append(values)
    whole = {name: np.concatenate(parts) for name, parts in drawn.items()}
    whole["loss"] = whole["rmse"] ** 2
    return {name: percentiles(values) for name, values in whole.items()}


def _columns(predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    given = predictions.astype(np.float64).reshape(len(labels))
    return given, labels.astype(np.float64)


def _figures(given: np.ndarray, true: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Of each draw, whose (draws, rows) counts say how often it holds a row."""
    rows, centred = counts.sum(axis=1), true - true.mean()
    squared = counts @ (given - true) ** 2 / rows
    spread = counts @ centred**2 / rows - (counts @ centred / rows) ** 2
    ranks = [_drawn_ranks(values, counts) for values in (given, true)]
    return {
        "rmse": np.sqrt(squared),
        "mae": counts @ np.abs(given - true) / rows,
        "r2": 1 - np.divide(squared, spread, out=np.ones_like(squared), where=spread > 0),
        "pearson": _correlation(
            np.tile(given, (len(rows), 1)), np.tile(true, (len(rows), 1)), counts
        ),
        "spearman": _correlation(ranks[0], ranks[1], counts),
    }


def _correlation(given: np.ndarray, true: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's of each draw: (draws, rows) of values, and how often each is drawn."""
    rows = counts.sum(axis=1, keepdims=True)
    one = given - (counts * given).sum(axis=1, keepdims=True) / rows
    other = true - (counts * true).sum(axis=1, keepdims=True) / rows
    shared = (counts * one * other).sum(axis=1)
    whole = np.sqrt((counts * one**2).sum(axis=1) * (counts * other**2).sum(axis=1))
    found: np.ndarray = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 1e-12)
    return found


def _drawn_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(draws, rows): the rank of each row in each draw, equal values sharing their mean rank."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    groups = np.add.reduceat(counts[:, order], starts, axis=1)
    last = np.cumsum(groups, axis=1)
    found: np.ndarray = (last - (groups - 1) / 2)[:, place]
    return found
