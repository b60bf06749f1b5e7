"""Contradictions within a text classification; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.classification import (
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    TextClassification,
)
from orchestrator.specs.finetune import FineTune


def _of_problem(spec: FineTune) -> Iterator[Problem]:
    """Fields that only some problems have."""
    task = spec.spec.task
    if not isinstance(task, TextClassification):
        return
    for field in ("threshold", "label_separator"):
        if getattr(task, field) is not None and task.kind != MULTI_LABEL:
            yield Problem(
                f"{field} belongs to rows with any number of labels",
                path=f"task.{field}",
                hint="write task.problem: multi_label, or remove it",
            )
    if task.labels is not None and task.kind == REGRESSION:
        yield Problem(
            "a regression learns numbers and has no labels to list",
            path="task.labels",
            hint="remove it, or write task.problem: single_label",
        )


def _of_single_labels(spec: FineTune) -> Iterator[Problem]:
    """What weighs, draws, cuts or explains rows by the one label they have."""
    task, body = spec.spec.task, spec.spec
    if not isinstance(task, TextClassification) or task.kind == SINGLE_LABEL:
        return
    given = {
        "task.class_weights": task.class_weights is not None,
        "data.mixing.balance_classes": body.data.mixing is not None
        and body.data.mixing.balance_classes,
        "evaluation.explain": body.evaluation.explain,
        **{
            f"evaluation.slices.{name}.label": bool(entry.label)
            for name, entry in (body.evaluation.slices or {}).items()
        },
    }
    for path, is_given in given.items():
        if is_given:
            yield Problem(
                f"rows of problem: {task.kind} have no single label",
                path=path,
                hint="remove it, or write task.problem: single_label",
            )


def _separated_labels(spec: FineTune) -> Iterator[Problem]:
    """A label that holds the separator would never be read."""
    task = spec.spec.task
    if not isinstance(task, TextClassification) or task.label_separator is None:
        return
    for index, label in enumerate(task.labels or ()):
        if task.label_separator in label:
            yield Problem(
                f"'{label}' holds the separator, which cuts it in two",
                path=f"task.labels[{index}]",
                hint="name the labels as they are between separators",
            )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("task",), _of_problem),
    (("task",), _separated_labels),
    (
        ("task", "data.mixing", "evaluation.explain", "evaluation.slices"),
        _of_single_labels,
    ),
)
