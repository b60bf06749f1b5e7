"""Machine-learning tasks as the worker sees them: head, features, loss and metrics, one file each.

A task is looked up by the spec's `task.type` and never imports a sibling.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.specs import (
    CausalLm,
    Denoising,
    FineTuneSpec,
    MaskedLm,
    TextClassification,
)
from orchestrator.specs.method import splits_texts
from orchestrator.specs.task_checks import WRITES_TEXT
from orchestrator.specs.task_views import has_heads, task_views
from orchestrator.worker.data.pieces import Pieces
from orchestrator.worker.tasks.base import Task


def task_for(spec: FineTuneSpec, base: Path) -> Task:
    """The task of a resolved spec on the base in a folder."""
    if spec.tasks:
        from orchestrator.worker.tasks.several import SeveralTasks

        return SeveralTasks(
            {name: task_for(view, base) for name, view in task_views(spec).items()},
            [entry.weight for entry in spec.tasks.values()],
            own_heads=has_heads(spec),
        )
    task, training = spec.task, spec.training
    if isinstance(task, TextClassification):
        from orchestrator.worker.tasks.text_classification import TextClassificationTask

        return TextClassificationTask(task, training.max_length)
    if isinstance(task, CausalLm):
        from orchestrator.worker.tasks.causal_lm import CausalLmTask

        return CausalLmTask(task, training.max_length, split=_pieces(spec).split)
    if isinstance(task, MaskedLm):
        from orchestrator.worker.tasks.masked_lm import MaskedLmTask

        return MaskedLmTask(task, _pieces(spec), training.seed)
    if isinstance(task, Denoising):
        from orchestrator.worker.tasks.denoising import DenoisingTask

        return DenoisingTask(task, base, _pieces(spec), training.seed)
    if isinstance(task, WRITES_TEXT):
        from orchestrator.worker.tasks.writing import writing_task

        assert training.max_target_length is not None, "the plan resolves it"
        return writing_task(task, base, training.max_length, training.max_target_length)
    raise UserError(
        f"task.type: {task.type} cannot be trained by this release",
        hint="write text-classification",
    )


def _pieces(spec: FineTuneSpec) -> Pieces:
    return Pieces(spec.training.max_length, splits_texts(spec.method))
