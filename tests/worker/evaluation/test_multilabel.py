"""Figures of label sets, against numbers worked out by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, log_loss

from orchestrator.specs.metrics import PROBLEM_METRICS
from orchestrator.worker.evaluation.multilabel import (
    constant_floors,
    multilabel_intervals,
    multilabel_metrics,
    sigmoid,
)

NAMES = ("a", "b", "c")
# Rows {a}, {a, b}, {}, {b}; given {a}, {a}, {}, {a, b}: c is never there and never given.
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
GIVEN = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
LOGITS = np.where(GIVEN == 1, 1.0, -1.0)


def test_metrics_of_four_rows() -> None:
    figures = multilabel_metrics(LOGITS, TRUTH, NAMES, 0.5)
    # a: 2 right, 1 wrong, none missed; b: 1 right, 1 missed; c: nothing.
    assert figures["macro_f1"] == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert figures["micro_f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert figures["micro_precision"] == pytest.approx(3 / 4)
    assert figures["micro_recall"] == pytest.approx(3 / 4)
    assert figures["weighted_f1"] == pytest.approx((2 * 0.8 + 2 * 2 / 3) / 4)
    # Row by row: 1, 2/3, 1 (nothing to give, nothing given), 2/3.
    assert figures["samples_f1"] == pytest.approx((1 + 2 / 3 + 1 + 2 / 3) / 4)
    assert figures["subset_accuracy"] == 0.5
    assert figures["per_class"]["a"] == {
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "support": 2,
        "given": 3,
    }


def test_the_threshold_decides_what_is_given() -> None:
    chance = float(sigmoid(np.array([1.0]))[0])
    above = multilabel_metrics(LOGITS, TRUTH, NAMES, chance + 0.01)
    assert above["micro_recall"] == 0.0
    assert above["threshold"] == chance + 0.01
    assert multilabel_metrics(LOGITS, TRUTH, NAMES, chance)["micro_recall"] == 0.75


def test_the_floors_are_what_the_best_constant_answer_reaches() -> None:
    floors = constant_floors(TRUTH)
    # Always {a, b}: F1 of a and b each 2 * .5 / 1.5; of {a} alone 2 * 2 / (4 + 4).
    assert floors["constant_macro_f1"] == pytest.approx(2 * (2 / 3) / 3)
    assert floors["constant_micro_f1"] == pytest.approx(2 * 4 / (4 + 8))
    assert floors["constant_subset_accuracy"] == 0.25
    everything = np.ones_like(TRUTH)
    measured = f1_score(TRUTH, everything, average="macro", zero_division=0.0)
    assert floors["constant_macro_f1"] == pytest.approx(measured)


def test_loss_and_calibration_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    logits, truth = generator.normal(size=(50, 3)) * 4, generator.integers(0, 2, (50, 3))
    figures = multilabel_metrics(logits, truth, NAMES, 0.5)
    flat = sigmoid(logits).ravel()
    assert figures["loss"] == pytest.approx(log_loss(truth.ravel(), flat))
    assert figures["brier"] == pytest.approx(brier_score_loss(truth.ravel(), flat))


def test_intervals_hold_the_figures_and_every_one_has_one() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(300, 3)) * 2
    truth = (generator.random((300, 3)) < sigmoid(logits)).astype(int)
    figures = multilabel_metrics(logits, truth, NAMES, 0.5)
    intervals = multilabel_intervals(logits, truth, 0.5, 300, seed=4)
    assert set(intervals) == set(PROBLEM_METRICS["multi_label"].forced)
    for name, (low, high) in intervals.items():
        assert low <= figures[name] <= high or name == "ece"
        assert 0 < high - low < 0.2
    assert intervals == multilabel_intervals(logits, truth, 0.5, 300, seed=4)
    assert multilabel_intervals(logits, truth, 0.5, 0, seed=4) == {}
