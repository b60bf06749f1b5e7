"""What a row's label is: one class, a set of classes or a number; each is kept as one string.

A set is a JSON list of its names, sorted, a number Python's shortest text of it. Called by
`inspect.values`, which reads them, and by whoever looks at labels of tables that were read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.specs.classification import (
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    ProblemKind,
)
from orchestrator.specs.task import TaskSpec, TextClassification

LABEL = "label"
"""The role whose values are labels; every other role is text, or chat messages."""


@dataclass(frozen=True, slots=True)
class LabelForm:
    """What the values of a label column are."""

    problem: ProblemKind = SINGLE_LABEL
    separator: str | None = None  # between the labels of a text

    @property
    def is_set(self) -> bool:
        return self.problem == MULTI_LABEL

    @property
    def is_number(self) -> bool:
        return self.problem == REGRESSION


ONE_CLASS = LabelForm()


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """The numbers that a regression learns."""

    mean: float
    std: float
    min: float
    max: float


def form_of(task: TaskSpec) -> LabelForm:
    """What the label column of a task holds."""
    if not isinstance(task, TextClassification):
        return ONE_CLASS
    return LabelForm(task.kind, task.label_separator)


def text_of_set(names: Collection[str]) -> str:
    return json.dumps(sorted(set(names)), ensure_ascii=False)


def set_of(text: str) -> list[str]:
    """What `text_of_set` made the text of."""
    names: list[str] = json.loads(text)
    return names


def names_of(table: pa.Table, form: LabelForm) -> list[list[str]]:
    """The classes of each row; none where rows have no label, or a number."""
    if LABEL not in table.column_names or form.is_number:
        return [[] for _ in range(table.num_rows)]
    values = table.column(LABEL).to_pylist()
    return [set_of(value) if form.is_set else [value] for value in values]


def class_counts(tables: Sequence[pa.Table], form: LabelForm = ONE_CLASS) -> dict[str, int]:
    """label -> rows that have it, in the order of the labels' names; empty without classes."""
    counts: Counter[str] = Counter()
    for table in tables:
        if LABEL not in table.column_names or form.is_number:
            continue
        for entry in pc.value_counts(table.column(LABEL)).to_pylist():
            for name in set_of(entry["values"]) if form.is_set else [entry["values"]]:
                counts[name] += entry["counts"]
    return {label: counts[label] for label in in_order(counts)}


def number_facts(table: pa.Table, form: LabelForm) -> NumberFacts | None:
    """What the numbers are; None for labels that are classes."""
    if not form.is_number or LABEL not in table.column_names or not table.num_rows:
        return None
    numbers = pc.cast(table.column(LABEL), pa.float64())
    found = (pc.mean(numbers), pc.stddev(numbers), pc.min(numbers), pc.max(numbers))
    return NumberFacts(*(float(value.as_py()) for value in found))


def strata_of(table: pa.Table, form: LabelForm) -> list[str]:
    """Of what kind each row is: each kind gives its share of what is held out.

    A set of labels is known by its rarest, since whole sets are often the only ones of their kind.
    """
    if not form.is_set:
        has_classes = LABEL in table.column_names and not form.is_number
        return table.column(LABEL).to_pylist() if has_classes else [""] * table.num_rows
    counts = class_counts([table], form)
    return [
        min(names, key=lambda name: (counts[name], name), default="")
        for names in names_of(table, form)
    ]


def in_order(labels: Collection[str]) -> list[str]:
    """By name; whole numbers by value, so that 10 comes after 9."""
    if all(label.removeprefix("-").isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
