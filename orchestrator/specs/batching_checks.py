"""Contradictions of `training.batching` with what else makes batches; part of `specs.checks`.

Whether a base can read packed rows is told by `inspect.model`, which has seen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.task import CustomTask

PATH = "training.batching"


def _done_by_script(spec: FineTune) -> Iterator[Problem]:
    if spec.spec.training.batching is not None and isinstance(spec.spec.task, CustomTask):
        message = "a custom task's script makes its batches itself, so this would never be read"
        yield Problem(message, path=PATH, hint="remove it")


def _collator(spec: FineTune) -> Iterator[Problem]:
    batching = spec.spec.training.batching
    if batching is not None and batching.packing and spec.spec.data.collator is not None:
        yield Problem(
            f"what {spec.spec.data.collator} makes of rows cannot be packed",
            path=f"{PATH}.packing",
            hint="remove it, or data.collator",
        )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    ((PATH, "task.type"), _done_by_script),
    ((PATH, "data.collator"), _collator),
)
