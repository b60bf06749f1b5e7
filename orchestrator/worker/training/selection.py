"""Which weights are the best so far: decided on valid alone."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from orchestrator.specs import FineTuneSpec, SelectionSpec
from orchestrator.specs.task_views import task_of_key
from orchestrator.worker.training.checkpointing import BestWeights, Progress

MEAN = "mean"


def selected_value(selection: SelectionSpec, figures: dict[str, dict[str, Any]]) -> float:
    """The selection metric of `figures` (domain -> metrics on valid)."""
    assert selection.metric is not None, "the plan resolves selection.metric"
    where, _, metric = selection.metric.rpartition("/")
    task, _, domain = where.rpartition("/")
    if domain == MEAN:  # of all, or of one of several tasks
        chosen = [v for key, v in figures.items() if not task or task_of_key(key) == task]
        return fmean(float(values[metric]) for values in chosen)
    return float(figures[where][metric])


def domains_to_evaluate(selection: SelectionSpec, learned: tuple[str, ...]) -> tuple[str, ...]:
    """Domains (of several tasks `task/domain`) whose valid split decides: those learned from, and
    the metric's own."""
    assert selection.metric is not None
    where = selection.metric.rpartition("/")[0]
    if where.rpartition("/")[2] == MEAN or where in learned:
        return learned
    return (*learned, where)


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
