"""Whether a classifier's probabilities are what they say: ECE, Brier score, reliability.

ECE is the mean gap between confidence and accuracy over 15 bins of equal width, weighted by rows
(Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599). The Brier score is the mean squared
distance of the probabilities from the truth, summed over classes (Brier 1950): 0 to 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NUM_BINS = 15
_LEAST = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss bounds probabilities


def bins_of(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence: bin b of (b / 15, (b + 1) / 15]."""
    numbers: np.ndarray = np.ceil(confidence * NUM_BINS).astype(np.int64) - 1
    return numbers.clip(0, NUM_BINS - 1)


def binned_gaps(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """(rows, bins): confidence minus truth in the row's bin, which summed over rows make ECE.

    A row may hold several answers (rows, labels): each goes into the bin of its own.
    """
    rows = len(confidence)
    gaps = np.zeros((rows, NUM_BINS))
    at = np.repeat(np.arange(rows), confidence.size // max(rows, 1))
    np.add.at(gaps, (at, bins_of(confidence).ravel()), (confidence - correct).ravel())
    return gaps


def ece_of(summed_gaps: np.ndarray, num_answers: int) -> np.ndarray:
    """ECE from gaps that were summed over rows: (…, bins) -> (…)."""
    found: np.ndarray = np.abs(summed_gaps).sum(axis=-1) / max(num_answers, 1)
    return found


def reliability(confidence: np.ndarray, correct: np.ndarray) -> list[dict[str, Any]]:
    """The bins that hold answers: how many, their mean confidence, the share that is right."""
    confidence, correct = confidence.ravel(), correct.ravel()
    bins = bins_of(confidence)
    return [
        {
            "up_to": round((number + 1) / NUM_BINS, 4),
            "count": int(here.sum()),
            "confidence": float(confidence[here].mean()),
            "accuracy": float(correct[here].mean()),
        }
        for number in range(NUM_BINS)
        if (here := bins == number).any()
    ]


def brier_of_rows(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(rows,): squared distance of (rows, classes) from the class numbers that are true."""
    truth = np.eye(probabilities.shape[1])[labels]
    found: np.ndarray = ((probabilities - truth) ** 2).sum(axis=1)
    return found


def nll_of_rows(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(rows,): negative logarithm of the true class's probability."""
    true = probabilities[np.arange(len(labels)), labels]
    found: np.ndarray = -np.log(true.clip(_LEAST, 1.0))
    return found
