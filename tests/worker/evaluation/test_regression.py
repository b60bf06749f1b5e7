"""Figures of numbers, against scikit-learn and SciPy, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from orchestrator.specs.metrics import PROBLEM_METRICS
from orchestrator.worker.evaluation.regression import regression_intervals, regression_metrics


def numbers(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions beside labels, of which some are equal."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(-4, 5, rows) / 2
    return (labels + generator.normal(size=rows)).round(1).reshape(-1, 1), labels


def test_figures_are_those_of_scikit_learn_and_scipy() -> None:
    given, labels = numbers(200)
    figures = regression_metrics(given, labels)
    flat = given[:, 0]
    assert figures["rmse"] == pytest.approx(root_mean_squared_error(labels, flat))
    assert figures["loss"] == pytest.approx(figures["rmse"] ** 2)
    assert figures["mae"] == pytest.approx(mean_absolute_error(labels, flat))
    assert figures["r2"] == pytest.approx(r2_score(labels, flat))
    assert figures["pearson"] == pytest.approx(pearsonr(labels, flat).statistic)
    assert figures["spearman"] == pytest.approx(spearmanr(labels, flat).statistic)


def test_the_floor_is_always_giving_the_mean() -> None:
    _, labels = numbers(50)
    mean = np.full((50, 1), labels.mean())
    figures = regression_metrics(mean, labels)
    for name in ("rmse", "mae", "r2", "loss", "pearson", "spearman"):
        assert figures[name] == pytest.approx(figures[f"constant_{name}"])


def test_a_resample_is_measured_as_if_it_were_the_split() -> None:
    given, labels = numbers(30)
    intervals = regression_intervals(given, labels, 400, seed=7)
    generator = np.random.default_rng(7)
    drawn = [generator.integers(0, 30, 30) for _ in range(400)]
    ranks = [spearmanr(labels[rows], given[rows, 0]).statistic for rows in drawn]
    assert intervals["spearman"] == pytest.approx(list(np.percentile(ranks, [2.5, 97.5])))
    errors = [root_mean_squared_error(labels[rows], given[rows, 0]) for rows in drawn]
    assert intervals["rmse"] == pytest.approx(list(np.percentile(errors, [2.5, 97.5])))
    assert set(intervals) == set(PROBLEM_METRICS["regression"].forced)


def test_what_does_not_vary_has_no_correlation() -> None:
    same = np.full(4, 2.0)
    figures = regression_metrics(same, same)
    assert (figures["pearson"], figures["spearman"], figures["rmse"]) == (0.0, 0.0, 0.0)
    assert regression_intervals(same, same, 0, seed=1) == {}
