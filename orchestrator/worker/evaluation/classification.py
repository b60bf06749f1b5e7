"""Figures of a classifier: scikit-learn's metrics, calibration, bootstrap intervals, the floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from orchestrator.worker.evaluation.calibration import (
    NUM_BINS,
    binned_gaps,
    brier_of_rows,
    ece_of,
    nll_of_rows,
    reliability,
)
from orchestrator.worker.evaluation.resampling import percentiles, resampled_sums


def classification_metrics(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """All figures of one split.

    Args:
        logits: (rows, classes), not normalized.
        labels: (rows,) class numbers.
        names: The classes, in the order of the logits' columns.

    Averages are over the task's classes, also those a split does not hold (they count as 0 in the
    macro averages, as in scikit-learn with `labels=` given).
    """
    predicted = logits.argmax(axis=1)
    classes = np.arange(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0.0
    )
    weights = support / max(int(support.sum()), 1)
    probabilities, right = softmax(logits), predicted == labels
    confidence = probabilities.max(axis=1)
    accuracy = float(right.mean())
    return {
        "num_rows": len(labels),
        "loss": float(log_loss(labels, probabilities, labels=classes)),
        "ece": float(ece_of(binned_gaps(confidence, right).sum(axis=0), len(labels))),
        "brier": float(brier_of_rows(probabilities, labels).mean()),
        "accuracy": accuracy,
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "micro_f1": accuracy,  # with one label a row the micro averages all equal accuracy
        "weighted_precision": float((precision * weights).sum()),
        "weighted_recall": float((recall * weights).sum()),
        "weighted_f1": float((f1 * weights).sum()),
        "majority_accuracy": float(support.max() / max(int(support.sum()), 1)),
        "majority_macro_f1": majority_macro_f1(support),
        "per_class": {
            name: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "support": int(support[number]),
            }
            for number, name in enumerate(names)
        },
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
        "reliability": reliability(confidence, right),
    }


def majority_macro_f1(support: np.ndarray) -> float:
    """Macro-F1 of always answering the most frequent class of the split."""
    share = float(support.max() / max(int(support.sum()), 1))
    return 2 * share / (1 + share) / len(support)


def bootstrap_intervals(
    logits: np.ndarray, labels: np.ndarray, num_classes: int, num_samples: int, seed: int
) -> dict[str, list[float]]:
    """Percentile bootstrap (Efron & Tibshirani 1993, ch. 13): metric -> [low, high] at 95 %.

    What follows from the confusion matrix is resampled through it: a resample of n rows is a
    multinomial draw of its cells, so the cost does not grow with the rows. ECE takes the absolute
    of every bin's gap, so that its resamples lie a little above it where rows are few.
    """
    if num_samples == 0 or len(labels) == 0:
        return {}
    predicted = logits.argmax(axis=1)
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(labels), cells / len(labels), size=num_samples)
    figures = _of_matrices(draws.reshape(num_samples, num_classes, num_classes))
    figures |= _of_probabilities(softmax(logits), labels, num_samples, seed)
    return {name: percentiles(values) for name, values in figures.items()}


def _of_matrices(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Of (samples, true, predicted) counts; a class without rows or predictions counts as 0."""
    correct = np.diagonal(matrices, axis1=1, axis2=2)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    weights = true / true.sum(axis=1, keepdims=True)
    accuracy = correct.sum(axis=1) / true.sum(axis=1)
    of_classes = {
        "f1": _ratio(2 * correct, true + predicted),
        "precision": _ratio(correct, predicted),
        "recall": _ratio(correct, true),
    }
    macro = {f"macro_{name}": values.mean(axis=1) for name, values in of_classes.items()}
    weighted = {
        f"weighted_{name}": (values * weights).sum(axis=1) for name, values in of_classes.items()
    }
    return {"accuracy": accuracy, "micro_f1": accuracy, **macro, **weighted}


def _of_probabilities(
    probabilities: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
) -> dict[str, np.ndarray]:
    right = probabilities.argmax(axis=1) == labels
    rows = np.column_stack(
        [
            binned_gaps(probabilities.max(axis=1), right),
            brier_of_rows(probabilities, labels),
            nll_of_rows(probabilities, labels),
        ]
    )
    sums = resampled_sums(rows, num_samples, seed)
    brier, loss = sums[:, NUM_BINS] / len(labels), sums[:, NUM_BINS + 1] / len(labels)
    return {"ece": ece_of(sums[:, :NUM_BINS], len(labels)), "brier": brier, "loss": loss}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return found


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of (rows, classes) in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
