"""Figures of a classifier, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.worker.evaluation.classification import (
    bootstrap_intervals,
    classification_metrics,
)

# True a a a b b c; predicted a a b b b b: c is never predicted.
LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 1])
LOGITS = np.eye(3)[PREDICTED] * 2.0


def test_metrics_of_three_classes() -> None:
    figures = classification_metrics(LOGITS, LABELS, ("a", "b", "c"))
    assert figures["num_rows"] == 6
    assert figures["accuracy"] == pytest.approx(4 / 6)
    # a: precision 1, recall 2/3, F1 .8; b: precision 1/2, recall 1, F1 2/3; c: nothing
    assert figures["macro_precision"] == pytest.approx(0.5)
    assert figures["macro_recall"] == pytest.approx((2 / 3 + 1) / 3)
    assert figures["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 3)
    assert figures["micro_f1"] == pytest.approx(4 / 6)
    assert figures["weighted_f1"] == pytest.approx((3 * 0.8 + 2 * 2 / 3) / 6)
    assert figures["weighted_precision"] == pytest.approx((3 * 1 + 2 * 0.5) / 6)
    assert figures["weighted_recall"] == pytest.approx(4 / 6)
    assert figures["confusion_matrix"] == [[2, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert figures["per_class"]["b"] == {
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }


def test_the_majority_floor_is_that_of_the_most_frequent_class() -> None:
    figures = classification_metrics(LOGITS, LABELS, ("a", "b", "c"))
    assert figures["majority_accuracy"] == 0.5
    assert figures["majority_macro_f1"] == pytest.approx((2 * 0.5 / 1.5) / 3)


def test_loss_is_the_mean_cross_entropy() -> None:
    figures = classification_metrics(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([0, 1]), "ab")
    assert figures["loss"] == pytest.approx(np.log(2))


def test_intervals_hold_the_figure_and_follow_the_binomial() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 400)
    predicted = np.where(generator.random(400) < 0.8, labels, 1 - labels)
    logits = np.eye(2)[predicted]
    low, high = bootstrap_intervals(logits, labels, 2, 2000, seed=1)["accuracy"]
    accuracy = float((predicted == labels).mean())
    deviation = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 400)
    assert low == pytest.approx(accuracy - deviation, abs=0.01)
    assert high == pytest.approx(accuracy + deviation, abs=0.01)
    assert bootstrap_intervals(logits, labels, 2, 2000, 1)["accuracy"] == [low, high]


def test_no_samples_give_no_intervals() -> None:
    assert bootstrap_intervals(LOGITS, LABELS, 3, 0, 1) == {}
