"""The figures of a test split as they are published: metrics, intervals, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from orchestrator.specs import EvaluationSpec, SliceSpec
from orchestrator.worker.evaluation.generation import Writer, chosen_rows, written_texts
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.evaluation.slices import largest_gaps, sliced_figures
from orchestrator.worker.evaluation.sums import RowSums
from orchestrator.worker.tasks.base import Encoded, SumsRows, WritesTexts


def reported_figures(
    evaluation: EvaluationPass,
    model: torch.nn.Module,
    encoded: Encoded,
    spec: EvaluationSpec,
    seed: int,
    rows: pa.Table | None = None,
) -> dict[str, Any]:
    """Metrics of the task with `intervals`: metric -> [low, high]; the same on every rank.

    Args:
        evaluation: The pass, with the task.
        model: With whole weights, in evaluation mode, on the rank's device.
        encoded: One split.
        spec: What is measured; resolved.
        seed: Of the bootstrap.
        rows: Those of the split as they were read: then it is sliced as well.
    """
    task, samples = evaluation.task, spec.bootstrap_samples
    predictions = evaluation.predict(model, encoded)
    figures = task.metrics(predictions, encoded.targets)
    intervals = task.intervals(predictions, encoded.targets, samples, seed)
    sliced: list[tuple[RowSums, pa.Table]] = []
    if rows is not None and spec.slices and isinstance(task, SumsRows):
        sliced.append((task.row_sums(predictions, encoded.targets), rows))
    if isinstance(task, WritesTexts):
        assert spec.generation is not None, "the plan resolves it"
        writer = Writer(model, evaluation.tokenizer, spec.generation, task.writes_after_prompt)
        texts = written_texts(writer, evaluation.gang, encoded)  # type: ignore[arg-type]
        written = task.text_metrics(texts, samples, seed)
        intervals |= written.pop("intervals")
        figures |= {"num_written": len(texts.written), **written}
        if sliced:
            some = chosen_rows(len(encoded), spec.generation.max_samples)
            sliced.append((task.text_sums(texts), sliced[0][1].take(some)))
    if sliced and spec.slices:
        # Worked out once: the same on every rank, and not as often as there are ranks.
        found = _sliced(sliced, spec.slices, samples, seed) if evaluation.gang.is_first else None
        figures |= evaluation.gang.from_first(found)
    return {**figures, "intervals": intervals}


def _sliced(
    parts: Sequence[tuple[RowSums, pa.Table]],
    slices: Mapping[str, SliceSpec],
    num_samples: int,
    seed: int,
) -> dict[str, Any]:
    """Of the forced metrics, and where texts are written of theirs, over fewer rows."""
    whole = [sliced_figures(slices, rows, sums, num_samples, seed) for sums, rows in parts]
    if len(whole) == 1:
        return whole[0]
    forced, written = whole
    return {
        "slices": forced["slices"],
        "slices_written": written["slices"],
        "gaps": largest_gaps([*forced["gaps"], *written["gaps"]]),
    }
