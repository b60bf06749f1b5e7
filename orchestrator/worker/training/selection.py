"""Which weights are the best so far: decided on valid alone."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from orchestrator.specs import FineTuneSpec, SelectionSpec
from orchestrator.worker.training.checkpointing import BestWeights, Progress

MEAN = "mean"


def selected_value(selection: SelectionSpec, figures: dict[str, dict[str, Any]]) -> float:
    """The selection metric of `figures` (domain -> metrics on valid)."""
    assert selection.metric is not None, "the plan resolves selection.metric"
    domain, _, metric = selection.metric.partition("/")
    if domain == MEAN:
        return fmean(float(values[metric]) for values in figures.values())
    return float(figures[domain][metric])


def domains_to_evaluate(selection: SelectionSpec, train_on: tuple[str, ...]) -> tuple[str, ...]:
    """Domains whose valid split decides: the trained ones, and the metric's own."""
    assert selection.metric is not None
    domain = selection.metric.partition("/")[0]
    if domain == MEAN or domain in train_on:
        return train_on
    return (*train_on, domain)


def after_evaluation(
    spec: FineTuneSpec, progress: Progress, candidate: BestWeights
) -> tuple[Progress, bool]:
    """The progress after one evaluation, and whether the candidate is the new best.

    An equal value does not replace an earlier one; early stopping counts evaluations whose value is
    not better than the best by `min_delta`.
    """
    sign = 1.0 if spec.selection.mode == "max" else -1.0
    stopping = spec.training.early_stopping
    best = progress.best
    gain = float("inf") if best is None else sign * (candidate.value - best.value)
    waited = progress.evaluations_since_best + 1
    if stopping is not None and gain > stopping.min_delta:
        waited = 0
    stopped = stopping is not None and waited >= stopping.patience
    update: dict[str, Any] = {"evaluations_since_best": waited, "stopped_early": stopped}
    if gain > 0:
        update["best"] = candidate
    return progress.model_copy(update=update), gain > 0
