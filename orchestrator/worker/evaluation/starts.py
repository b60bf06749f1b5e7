"""How good the base is before training, once for all jobs that ask the same.

Only where a model writes texts: a classifier's start depends on its new head.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

from orchestrator.records import Launch
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.scores import ScoreCache, score_key
from orchestrator.worker.gang import Gang
from orchestrator.worker.tasks.base import Task, WritesTexts

_NOT_MEASURED = {"metrics", "before", "slices", "explain", "explanations", "gates"}
"""Fields of `evaluation` that leave the start's figures as they are."""

Figures = dict[str, dict[str, Any]]


def start_figures(
    launch: Launch, task: Task, gang: Gang, store: ObjectStore, measure: Callable[[], Figures]
) -> Figures:
    """domain -> figures on test of the untrained model; measured, or those of an earlier job.

    Args:
        launch: The Attempt.
        task: Its task.
        gang: All of its ranks call this.
        store: Where figures are kept.
        measure: A collective of the gang.
    """
    if not isinstance(task, WritesTexts):
        return measure()
    cache, key = ScoreCache(store), start_key(launch, task.version)
    kept: Figures | None = gang.from_first(cache.get(key) if gang.is_first else None)
    if kept is not None:
        return kept
    figures = measure()
    if gang.is_first:
        cache.put(key, figures)
    return figures


def start_key(launch: Launch, task_version: str) -> str:
    """A digest of all that the figures of a start follow from."""
    spec = launch.spec.spec
    tests = {name: sha for name, sha in launch.identity.data.items() if name.endswith("/test")}
    return score_key(
        {
            "base": launch.identity.base,
            "task": spec.task.model_dump(mode="json"),
            "task_version": task_version,
            "evaluation": spec.evaluation.model_dump(mode="json", exclude=_NOT_MEASURED),
            "lengths": [spec.training.max_length, spec.training.max_target_length],
            "seed": spec.training.seed,  # of the bootstrap
            "transform": spec.data.transform,
            "code": launch.identity.code,
            "test": tests,
            "transformers": metadata.version("transformers"),
        }
    )
