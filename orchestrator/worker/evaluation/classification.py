"""Figures of a classifier: scikit-learn's metrics, bootstrap intervals and the majority floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

INTERVAL_METRICS = ("accuracy", "macro_f1")
CONFIDENCE = 0.95


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
    accuracy = float((predicted == labels).mean())
    return {
        "num_rows": len(labels),
        "loss": float(log_loss(labels, softmax(logits), labels=classes)),
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
    }


def majority_macro_f1(support: np.ndarray) -> float:
    """Macro-F1 of always answering the most frequent class of the split."""
    share = float(support.max() / max(int(support.sum()), 1))
    return 2 * share / (1 + share) / len(support)


def bootstrap_intervals(
    logits: np.ndarray, labels: np.ndarray, num_classes: int, num_samples: int, seed: int
) -> dict[str, list[float]]:
    """Percentile bootstrap (Efron & Tibshirani 1993, ch. 13): metric -> [low, high] at 95 %.

    Rows are resampled through the confusion matrix: a resample of n rows is a multinomial draw of
    its cells, so the cost does not grow with the rows.
    """
    if num_samples == 0 or len(labels) == 0:
        return {}
    predicted = logits.argmax(axis=1)
    cells = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(labels), cells / len(labels), size=num_samples)
    matrices = draws.reshape(num_samples, num_classes, num_classes)
    tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
    figures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "accuracy": _accuracies,
        "macro_f1": _macro_f1s,
    }
    return {
        name: [float(bound) for bound in np.percentile(figures[name](matrices), tails)]
        for name in INTERVAL_METRICS
    }


def _accuracies(matrices: np.ndarray) -> np.ndarray:
    correct: np.ndarray = np.trace(matrices, axis1=1, axis2=2)
    accuracies: np.ndarray = correct / matrices.sum(axis=(1, 2))
    return accuracies


def _macro_f1s(matrices: np.ndarray) -> np.ndarray:
    """Of (samples, true, predicted) counts; a class without rows or predictions counts as 0."""
    correct = np.diagonal(matrices, axis1=1, axis2=2)
    total = matrices.sum(axis=1) + matrices.sum(axis=2)
    f1s = np.divide(2 * correct, total, out=np.zeros(correct.shape), where=total > 0)
    means: np.ndarray = f1s.mean(axis=1)
    return means


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of (rows, classes) in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
