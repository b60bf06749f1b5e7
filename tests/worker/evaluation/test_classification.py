"""Figures of a classifier, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.specs import TASK_METRICS
from orchestrator.worker.evaluation.classification import (
    bootstrap_intervals,
    classification_metrics,
)
from orchestrator.worker.evaluation.resampling import percentiles, resampled_sums

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


def test_calibration_of_four_rows_worked_out_by_hand() -> None:
    # Confidences .9 .9 .6 .6; right, wrong, right, right.
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    figures = classification_metrics(np.log(chances), np.array([0, 1, 1, 1]), ("a", "b"))
    # Two bins of two rows: |1.8 - 1| and |1.2 - 2|, over four rows.
    assert figures["ece"] == pytest.approx((0.8 + 0.8) / 4)
    assert figures["brier"] == pytest.approx((2 * 0.01 + 2 * 0.81 + 2 * 2 * 0.16) / 4)
    assert [(b["up_to"], b["count"], b["accuracy"]) for b in figures["reliability"]] == [
        (0.6, 2, 1.0),
        (0.9333, 2, 0.5),
    ]


def test_every_figure_that_may_be_shown_has_an_interval_that_holds_it() -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(300, 3)) * 3
    labels = np.array([generator.choice(3, p=np.exp(r) / np.exp(r).sum()) for r in logits])
    figures = classification_metrics(logits, labels, "abc")
    intervals = bootstrap_intervals(logits, labels, 3, 400, seed=1)
    assert set(intervals) == set(TASK_METRICS["text-classification"].all)
    for name, (low, high) in intervals.items():
        assert low <= figures[name] <= high or name == "ece"
        assert 0 < high - low < 0.35
    assert intervals["ece"][1] > figures["ece"]  # drawn labels: what is left of it is noise


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(3.0, 2.0, size=(500, 1))
    sums = resampled_sums(values, 4000, seed=2)[:, 0] / 500
    low, high = percentiles(sums)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(500), rel=0.05)
    assert np.array_equal(sums, resampled_sums(values, 4000, seed=2)[:, 0] / 500)
