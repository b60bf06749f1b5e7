"""Contradictions of `evaluation.slices` and `evaluation.explain`; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.task import CustomTask, TextClassification

TEXTS_ARE_CHUNKED = frozenset({"pretrain"})
"""Methods whose rows are no rows of the files any more."""


def _slices(spec: FineTune) -> Iterator[Problem]:
    task, slices = spec.spec.task, spec.spec.evaluation.slices or {}
    if not slices:
        return
    if isinstance(task, CustomTask):
        yield Problem(
            "a custom task's script reads and measures its rows itself",
            path="evaluation.slices",
            hint="remove it",
        )
        return
    if spec.spec.method.type in TEXTS_ARE_CHUNKED:
        yield Problem(
            f"{spec.spec.method.type} cuts texts anew, so that no row of a file is measured alone",
            path="evaluation.slices",
            hint="remove it, and slice the job that uses the result",
        )
    for name, entry in slices.items():
        if entry.label and not isinstance(task, TextClassification):
            yield Problem(
                f"{task.type} has no labels",
                path=f"evaluation.slices.{name}.label",
                hint="slice by column, terms or lengths",
            )


def _explain(spec: FineTune) -> Iterator[Problem]:
    task, evaluation = spec.spec.task, spec.spec.evaluation
    if evaluation.explain and not isinstance(task, TextClassification):
        yield Problem(
            f"only decisions between labels are explained, and {task.type} makes none",
            path="evaluation.explain",
            hint="remove it",
        )
    if evaluation.explanations is not None and not evaluation.explain:
        yield Problem(
            "nothing is explained unless explain is true",
            path="evaluation.explanations",
            hint="add evaluation.explain: true, or remove it",
        )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("task.type", "method", "evaluation.slices"), _slices),
    (("task.type", "evaluation.explain", "evaluation.explanations"), _explain),
)
