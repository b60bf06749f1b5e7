"""Contradictions within a text classification; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.classification import (
    MULTI_LABEL,
    OF_LIKELIHOOD,
    PAIR_PLACE,
    REGRESSION,
    SINGLE_LABEL,
    TEXT_PLACE,
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


def _of_likelihood(spec: FineTune) -> Iterator[Problem]:
    """What only prompts have, and what only heads have."""
    task = spec.spec.task
    if not isinstance(task, TextClassification):
        return
    if not task.by_likelihood:
        for field in OF_LIKELIHOOD:
            if getattr(task, field) is not None:
                hint = "write task.by: likelihood, or remove it"
                yield Problem("a head reads no prompt", path=f"task.{field}", hint=hint)
        return
    if task.kind != SINGLE_LABEL:
        yield Problem(
            f"the likeliest label is one label; {task.kind} needs a head",
            path="task.by",
            hint="remove it, or task.problem",
        )
    given = {
        "task.class_weights": task.class_weights is not None,
        "evaluation.explain": spec.spec.evaluation.explain,
    }
    for path, is_given in given.items():
        if is_given:
            message = "with by: likelihood tokens are learned, and no head decides"
            yield Problem(message, path=path, hint="remove it, or task.by")


def _prompt(spec: FineTune) -> Iterator[Problem]:
    task = spec.spec.task
    if not isinstance(task, TextClassification) or task.prompt is None:
        return
    places = [TEXT_PLACE, *([PAIR_PLACE] if task.has_pairs else [])]
    for place in places:
        if (times := task.prompt.count(place)) != 1:
            yield Problem(
                f"{place} stands {times or 'no'} time{'s' if times else ''} in the prompt",
                path="task.prompt",
                hint=f"write it once, e.g. 'Review: {TEXT_PLACE}' and 'Sentiment:' below it",
            )
    if not task.has_pairs and PAIR_PLACE in task.prompt:
        yield Problem(
            f"{PAIR_PLACE} stands in the prompt, and a row has one text",
            path="task.prompt",
            hint="write task.pairs: true, or remove it",
        )


def _words(spec: FineTune) -> Iterator[Problem]:
    """Words that belong to no label, or to two."""
    task = spec.spec.task
    if not isinstance(task, TextClassification) or task.verbalizers is None:
        return
    path = "task.verbalizers"
    for label in task.verbalizers:
        if task.labels is not None and label not in task.labels:
            hint = "one of " + ", ".join(task.labels)
            yield Problem(f"task.labels does not list '{label}'", path=f"{path}.{label}", hint=hint)
    labels = task.labels or tuple(task.verbalizers)
    words = [task.words_of(label).strip() for label in labels]
    for number, word in enumerate(words):
        if word in words[:number]:
            other = labels[words.index(word)]
            message = f"'{word}' would stand for {other} and {labels[number]} alike"
            yield Problem(message, path=path, hint="give each label words of its own")


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
    (("task", "evaluation.explain"), _of_likelihood),
    (("task",), _prompt),
    (("task",), _words),
    (
        ("task", "data.mixing", "evaluation.explain", "evaluation.slices"),
        _of_single_labels,
    ),
)
