"""The percentile bootstrap over rows (Efron & Tibshirani 1993, ch. 13), shared by all figures.

A figure that follows from sums over rows needs no resample of its own: `resampled_sums` draws once
for all of them, and its cost is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CONFIDENCE = 0.95

_CELLS_AT_ONCE = 4_000_000  # draws x rows that are held in memory together


def drawn_counts(num_rows: int, num_samples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of (draws, rows): how often each draw of `num_rows` rows holds each row."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS_AT_ONCE // max(num_rows, 1))
    for start in range(0, num_samples, at_once):
        block = np.empty((min(at_once, num_samples - start), num_rows))
        for draw in range(len(block)):
            rows = generator.integers(0, num_rows, num_rows)
            block[draw] = np.bincount(rows, minlength=num_rows)
        yield block


def resampled_sums(values: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    """(draws, columns): the sums of (rows, columns) over the rows of each draw."""
    blocks = [counts @ values for counts in drawn_counts(len(values), num_samples, seed)]
    return np.concatenate(blocks)


def percentiles(values: np.ndarray) -> list[float]:
    """[low, high] of a figure's values over the draws, at 95 %."""
    tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
    return [float(bound) for bound in np.percentile(values, tails)]
