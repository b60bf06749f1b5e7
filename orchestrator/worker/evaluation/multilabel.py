"""Figures of a model that gives each row any number of labels, and the best constant answers.

F1 is averaged over labels (macro), over all decisions (micro) or over rows (samples; a row that has
and gets no label counts as 1). Calibration is that of single decisions: ECE of the probability
that a label holds against how often it does, Brier the mean squared error of these probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from orchestrator.worker.evaluation.calibration import (
    NUM_BINS,
    binned_gaps,
    ece_of,
    reliability,
)
from orchestrator.worker.evaluation.resampling import percentiles, resampled_sums


def multilabel_metrics(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str], threshold: float
) -> dict[str, Any]:
    """All figures of one split.

    Args:
        logits: (rows, labels), not normalized.
        labels: (rows, labels) of 0 and 1.
        names: The labels, in the order of the columns.
        threshold: Probability from which a label is given.

    A label that a split does not hold counts as 0 in the macro averages unless `zero_division` says
    otherwise, as in scikit-learn.
    """
    truth = labels.astype(np.int64)
    chances = sigmoid(logits)
    given = (chances >= threshold).astype(np.int64)
    per_label = precision_recall_fscore_support(truth, given, average=None, zero_division=0.0)
    precision, recall, f1, support = per_label
    micro = precision_recall_fscore_support(truth, given, average="micro", zero_division=0.0)
    weights = support / max(int(support.sum()), 1)
    return {
        "num_rows": len(labels),
        "threshold": threshold,
        "loss": float(_loss_of_rows(logits, truth).mean()),
        "ece": float(ece_of(binned_gaps(chances, truth).sum(axis=0), truth.size)),
        "brier": float(((chances - truth) ** 2).mean()),
        "subset_accuracy": float((given == truth).all(axis=1).mean()),
        "micro_f1": float(micro[2]),
        "micro_precision": float(micro[0]),
        "micro_recall": float(micro[1]),
        "macro_f1": float(f1.mean()),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
        "weighted_f1": float((f1 * weights).sum()),
        "samples_f1": float(_f1_of_rows(truth, given).mean()),
        **constant_floors(truth),
        "per_class": {
            name: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "support": int(support[number]),
                "given": int(given[:, number].sum()),
            }
            for number, name in enumerate(names)
        },
        "reliability": reliability(chances, truth),
    }


def constant_floors(truth: np.ndarray) -> dict[str, float]:
    """What the best constant answer reaches on these rows, metric by metric.

    Macro-F1 is largest for all labels, micro- and samples-F1 for the commonest few (as many as are
    best), subset accuracy for the commonest set.
    """
    rows, count = truth.shape
    support = truth.sum(axis=0)
    order = np.argsort(-support, kind="stable")
    micro, samples = 0.0, 0.0
    for size in range(count + 1):
        answer = np.zeros(count, dtype=np.int64)
        answer[order[:size]] = 1
        right = int(support[order[:size]].sum())
        micro = max(micro, 2 * right / max(int(support.sum()) + size * rows, 1))
        samples = max(samples, float(_f1_of_rows(truth, np.tile(answer, (rows, 1))).mean()))
    shares = support / max(rows, 1)
    _, sets = np.unique(truth, axis=0, return_counts=True)
    per_label = 2 * shares / (1 + shares)
    return {
        "constant_macro_f1": float(per_label.mean()),
        "constant_weighted_f1": float((per_label * support).sum() / max(int(support.sum()), 1)),
        "constant_micro_f1": micro,
        "constant_samples_f1": samples,
        "constant_subset_accuracy": float(sets.max() / max(rows, 1)),
    }


def multilabel_intervals(
    logits: np.ndarray, labels: np.ndarray, threshold: float, num_samples: int, seed: int
) -> dict[str, list[float]]:
    """Percentile bootstrap over rows, whose labels stay together; empty for 0 samples."""
    if num_samples == 0 or len(labels) == 0:
        return {}
    truth, chances = labels.astype(np.int64), sigmoid(logits)
    given = (chances >= threshold).astype(np.int64)
    count, rows = truth.shape[1], len(truth)
    columns = np.column_stack(
        [
            *(truth & given, given, truth),
            binned_gaps(chances, truth),
            ((chances - truth) ** 2).mean(axis=1),
            _loss_of_rows(logits, truth),
            (given == truth).all(axis=1),
            _f1_of_rows(truth, given),
        ]
    )
    sums = resampled_sums(columns, num_samples, seed)
    right, gave, true = (sums[:, number * count : (number + 1) * count] for number in range(3))
    rest = sums[:, 3 * count :]
    brier, loss, subset, samples = (rest[:, NUM_BINS + number] / rows for number in range(4))
    drawn = {
        "ece": ece_of(rest[:, :NUM_BINS], truth.size),
        "brier": brier,
        "loss": loss,
        "subset_accuracy": subset,
        "samples_f1": samples,
        **_averages(right, gave, true),
    }
    return {name: percentiles(values) for name, values in drawn.items()}


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64; no overflow for logits of any size."""
    found: np.ndarray = 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))
    return found


def _averages(right: np.ndarray, gave: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Micro, macro and weighted averages from counts of (draws, labels)."""
    of_labels = {
        "f1": _ratio(2 * right, gave + true),
        "precision": _ratio(right, gave),
        "recall": _ratio(right, true),
    }
    all_right, all_gave, all_true = (part.sum(axis=1) for part in (right, gave, true))
    weighted = _ratio((of_labels["f1"] * true).sum(axis=1), all_true)
    return {
        **{f"macro_{name}": values.mean(axis=1) for name, values in of_labels.items()},
        "weighted_f1": weighted,
        "micro_f1": _ratio(2 * all_right, all_gave + all_true),
        "micro_precision": _ratio(all_right, all_gave),
        "micro_recall": _ratio(all_right, all_true),
    }


def _f1_of_rows(truth: np.ndarray, given: np.ndarray) -> np.ndarray:
    both, all_of_them = (truth & given).sum(axis=1), truth.sum(axis=1) + given.sum(axis=1)
    found: np.ndarray = np.where(all_of_them == 0, 1.0, 2 * both / np.maximum(all_of_them, 1))
    return found


def _loss_of_rows(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Binary cross entropy, the mean over a row's labels: log(1 + e^x) - x y."""
    wide = logits.astype(np.float64)
    found: np.ndarray = (np.logaddexp(0.0, wide) - wide * truth).mean(axis=1)
    return found


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return found
