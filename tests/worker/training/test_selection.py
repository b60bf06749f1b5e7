"""Best weights and early stopping, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.specs import FineTuneSpec, SelectionSpec
from orchestrator.worker.training.checkpointing import BestWeights, Progress
from orchestrator.worker.training.selection import (
    after_evaluation,
    domains_to_evaluate,
    selected_value,
)
from tests.worker.tiny import launch


def spec(mode: str = "max", **training: Any) -> FineTuneSpec:
    return launch(
        Path("/base"),
        Path("/scratch"),
        training=training,
        selection={"metric": "toy/macro_f1", "mode": mode},
    ).spec.spec


def play(values: list[float], of: FineTuneSpec) -> tuple[Progress, list[bool]]:
    progress, improved = Progress(), []
    for step, value in enumerate(values, start=1):
        candidate = BestWeights(attempt=1, step=step, value=value)
        progress, better = after_evaluation(of, progress, candidate)
        improved.append(better)
    return progress, improved


def test_the_first_of_equal_values_stays_the_best() -> None:
    progress, improved = play([0.5, 0.7, 0.7, 0.6], spec())
    assert progress.best == BestWeights(attempt=1, step=2, value=0.7)
    assert improved == [True, True, False, False]
    assert not progress.stopped_early


def test_less_is_better_where_the_mode_says_so() -> None:
    progress, _ = play([0.9, 0.4, 0.6], spec(mode="min"))
    assert progress.best == BestWeights(attempt=1, step=2, value=0.4)


@pytest.mark.parametrize(
    ("values", "stopped"),
    [
        ([0.5, 0.6, 0.6], False),
        ([0.5, 0.4, 0.4], True),
        ([0.5, 0.505, 0.507], True),  # better, but by less than min_delta
        ([0.5, 0.4, 0.52], False),
    ],
)
def test_patience_counts_evaluations_without_gain(values: list[float], stopped: bool) -> None:
    progress, _ = play(values, spec(early_stopping={"patience": 2, "min_delta": 0.01}))
    assert progress.stopped_early is stopped


FIGURES = {"camera": {"accuracy": 0.8}, "movie": {"accuracy": 0.6}}


def test_the_metric_is_read_on_its_domain_or_as_a_mean() -> None:
    assert selected_value(SelectionSpec(metric="camera/accuracy"), FIGURES) == 0.8
    assert selected_value(SelectionSpec(metric="mean/accuracy"), FIGURES) == pytest.approx(0.7)


def test_a_transfer_target_may_decide() -> None:
    assert domains_to_evaluate(SelectionSpec(metric="movie/accuracy"), ("camera",)) == (
        "camera",
        "movie",
    )
    assert domains_to_evaluate(SelectionSpec(metric="mean/accuracy"), ("camera",)) == ("camera",)


@pytest.mark.parametrize(
    ("metric", "value", "evaluated"),
    [
        ("mean/loss", 2.0, ("mood/a", "mood/b", "topic/a")),
        ("mood/mean/loss", 1.5, ("mood/a", "mood/b", "topic/a")),
        ("topic/a/loss", 3.0, ("mood/a", "mood/b", "topic/a")),
        ("topic/c/loss", 9.0, ("mood/a", "mood/b", "topic/a", "topic/c")),
    ],
)
def test_several_tasks_are_selected_by_their_keys(
    metric: str, value: float, evaluated: tuple[str, ...]
) -> None:
    selection = SelectionSpec(metric=metric, mode="min")
    learned = ("mood/a", "mood/b", "topic/a")
    losses = {"mood/a": 1.0, "mood/b": 2.0, "topic/a": 3.0, "topic/c": 9.0}
    keys = domains_to_evaluate(selection, learned)

    assert keys == evaluated
    assert selected_value(selection, {key: {"loss": losses[key]} for key in keys}) == value
