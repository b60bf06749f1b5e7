"""The figures of a test split as they are published: metrics, intervals, counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.tasks.base import Encoded


def reported_figures(
    evaluation: EvaluationPass,
    forward: Callable[..., Any],
    encoded: Encoded,
    bootstrap_samples: int,
    seed: int,
) -> dict[str, Any]:
    """Metrics of the task with `intervals`: metric -> [low, high]; the same on every rank."""
    predictions = evaluation.predict(forward, encoded)
    labels = encoded.targets
    figures = evaluation.task.metrics(predictions, labels)
    figures["intervals"] = evaluation.task.intervals(predictions, labels, bootstrap_samples, seed)
    return figures
