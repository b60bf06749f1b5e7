"""The figures of a test split as they are published: metrics, intervals, counts."""

from __future__ import annotations

from typing import Any

import torch

from orchestrator.specs import EvaluationSpec
from orchestrator.worker.evaluation.generation import Writer, written_texts
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.tasks.base import Encoded, WritesTexts


def reported_figures(
    evaluation: EvaluationPass,
    model: torch.nn.Module,
    encoded: Encoded,
    spec: EvaluationSpec,
    seed: int,
) -> dict[str, Any]:
    """Metrics of the task with `intervals`: metric -> [low, high]; the same on every rank.

    Args:
        evaluation: The pass, with the task.
        model: With whole weights, in evaluation mode, on the rank's device.
        encoded: One split.
        spec: What is measured; resolved.
        seed: Of the bootstrap.
    """
    task, samples = evaluation.task, spec.bootstrap_samples
    predictions = evaluation.predict(model, encoded)
    figures = task.metrics(predictions, encoded.targets)
    intervals = task.intervals(predictions, encoded.targets, samples, seed)
    if isinstance(task, WritesTexts):
        assert spec.generation is not None, "the plan resolves it"
        writer = Writer(model, evaluation.tokenizer, spec.generation, task.writes_after_prompt)
        texts = written_texts(writer, evaluation.gang, encoded)  # type: ignore[arg-type]
        written = task.text_metrics(texts, samples, seed)
        intervals |= written.pop("intervals")
        figures |= {"num_written": len(texts.written), **written}
    return {**figures, "intervals": intervals}
