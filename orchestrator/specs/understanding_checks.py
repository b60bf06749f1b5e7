"""Contradictions of `evaluation.slices` and `evaluation.explain`; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.classification import MULTI_LABEL, REGRESSION
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
        if entry.label and not _has_labels(spec):
            yield Problem(
                f"{_what(spec)} has no labels",
                path=f"evaluation.slices.{name}.label",
                hint="slice by column, terms or lengths",
            )


def _has_labels(spec: FineTune) -> bool:
    task = spec.spec.task
    return isinstance(task, TextClassification) and task.kind != REGRESSION


def _what(spec: FineTune) -> str:
    task = spec.spec.task
    problem = task.problem if isinstance(task, TextClassification) else None
    return problem or task.type


def _explain(spec: FineTune) -> Iterator[Problem]:
    task, evaluation = spec.spec.task, spec.spec.evaluation
    decides = isinstance(task, TextClassification) and task.kind not in (MULTI_LABEL, REGRESSION)
    if evaluation.explain and not decides:
        yield Problem(
            f"only decisions for one of several labels are explained, and {_what(spec)} makes none",
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
    (("task", "method", "evaluation.slices"), _slices),
    (("task", "evaluation.explain", "evaluation.explanations"), _explain),
)
