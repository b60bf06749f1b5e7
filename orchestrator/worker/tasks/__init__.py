"""Machine-learning tasks as the worker sees them: head, features, loss and metrics, one file each.

A task is looked up by the spec's `task.type` and never imports a sibling.
"""

from __future__ import annotations

from orchestrator.specs import TaskSpec
from orchestrator.worker.tasks.base import Task


def task_for(spec: TaskSpec) -> Task:
    from orchestrator.worker.tasks.text_classification import TextClassificationTask

    return TextClassificationTask(spec)
