"""Machine-learning tasks as the worker sees them: head, features, loss and metrics, one file each.

A task is looked up by the spec's `task.type` and never imports a sibling.
"""

from __future__ import annotations

from orchestrator.errors import UserError
from orchestrator.specs import TaskSpec
from orchestrator.specs.task import TextClassification
from orchestrator.worker.tasks.base import Task


def task_for(spec: TaskSpec) -> Task:
    from orchestrator.worker.tasks.text_classification import TextClassificationTask

    if not isinstance(spec, TextClassification):
        raise UserError(
            f"task.type: {spec.type} cannot be trained by this release",
            hint="write text-classification",
        )
    return TextClassificationTask(spec)
