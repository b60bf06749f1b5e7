"""Metrics as functions of sums over rows: what any group of rows, and any resample of it, costs.

A task that offers `row_sums` can be compared between groups (`evaluation.slices`): figures of a
group are those of its rows' sum, and a bootstrap sample is a weighted sum. Shared by the tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orchestrator.worker.evaluation.tokens import token_figures

Figures = dict[str, np.ndarray]


@dataclass(frozen=True)
class RowSums:
    """What metrics are made of, one line a row."""

    lines: np.ndarray  # (rows, columns), float64
    figures: Callable[[np.ndarray], Figures]
    """(samples, columns) of summed lines -> metric -> (samples,)."""

    def of(self, rows: np.ndarray) -> dict[str, float]:
        """Figures of some rows, given by a mask or by their numbers."""
        found = self.figures(self.lines[rows].sum(axis=0, keepdims=True))
        return {name: float(values[0]) for name, values in found.items()}

    def resampled(self, rows: np.ndarray, num_samples: int, seed: int) -> Figures:
        """Figures of resamples of the rows (Efron & Tibshirani 1993, ch. 13)."""
        generator = np.random.default_rng(seed)
        lines = self.lines[rows]
        # Equal lines are drawn together: a classifier's are few, whatever the rows.
        kinds, counts = np.unique(lines, axis=0, return_counts=True)
        if len(kinds) <= len(lines) // 4:
            drawn = generator.multinomial(len(lines), counts / len(lines), size=num_samples)
            return self.figures(drawn @ kinds)
        picks = (generator.integers(0, len(lines), len(lines)) for _ in range(num_samples))
        return self.figures(np.stack([lines[pick].sum(axis=0) for pick in picks]))


def class_sums(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> RowSums:
    """Accuracy, and macro-F1 over the classes that the rows hold.

    Args:
        predicted: (rows,) class numbers.
        labels: Likewise, the right ones.
        num_classes: Of the task.
    """
    classes = np.arange(num_classes)
    is_label = labels[:, None] == classes
    is_predicted = predicted[:, None] == classes
    lines = np.hstack([is_label & is_predicted, is_label, is_predicted]).astype(np.float64)

    def figures(sums: np.ndarray) -> Figures:
        right, true, told = np.split(sums, 3, axis=1)
        f1 = ratio(2 * right, true + told)
        is_there = true > 0
        return {
            "accuracy": ratio(right.sum(axis=1), true.sum(axis=1)),
            "macro_f1": ratio((f1 * is_there).sum(axis=1), is_there.sum(axis=1)),
        }

    return RowSums(lines, figures)


def set_sums(given: np.ndarray, labels: np.ndarray) -> RowSums:
    """Micro-F1, macro-F1 over the labels that the rows hold, and subset accuracy.

    Args:
        given: (rows, labels), whether a label was given.
        labels: Likewise, whether it holds.
    """
    same = (given == labels).all(axis=1, keepdims=True)
    ones = np.ones_like(same)
    lines = np.hstack([given & labels, labels, given, same, ones]).astype(np.float64)
    count = labels.shape[1]

    def figures(sums: np.ndarray) -> Figures:
        right, true, told = np.split(sums[:, : 3 * count], 3, axis=1)
        f1, is_there = ratio(2 * right, true + told), true > 0
        return {
            "micro_f1": ratio(2 * right.sum(axis=1), (true + told).sum(axis=1)),
            "macro_f1": ratio((f1 * is_there).sum(axis=1), is_there.sum(axis=1)),
            "subset_accuracy": ratio(sums[:, -2], sums[:, -1]),
        }

    return RowSums(lines, figures)


def number_sums(given: np.ndarray, labels: np.ndarray) -> RowSums:
    """Errors of numbers: RMSE and MAE."""
    gaps = given.astype(np.float64) - labels
    lines = np.stack([gaps**2, np.abs(gaps), np.ones_like(gaps)], axis=1)

    def figures(sums: np.ndarray) -> Figures:
        return {
            "rmse": np.sqrt(ratio(sums[:, 0], sums[:, 2])),
            "mae": ratio(sums[:, 1], sums[:, 2]),
        }

    return RowSums(lines, figures)


def token_row_sums(sums: np.ndarray) -> RowSums:
    """Loss, perplexity and token accuracy from `token_sums`."""
    return RowSums(sums, token_figures)


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """0 where there is nothing to divide by."""
    empty = np.zeros(np.broadcast_shapes(over.shape, under.shape))
    found: np.ndarray = np.divide(over, under, out=empty, where=under != 0)
    return found
