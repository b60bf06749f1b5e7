"""Whether episodes and k-shot curves find the rows that they draw. Called by `inspect.data`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.errors import Problem
from orchestrator.inspect.labels import class_counts
from orchestrator.inspect.tables import ReadData, learned_from, lent_splits
from orchestrator.specs.finetune import FineTuneSpec
from orchestrator.specs.method import MetaMethod

_NAMED = 3  # classes a warning lists


def shot_problems(spec: FineTuneSpec, found: ReadData) -> Iterator[Problem]:
    """Domains of which no episode can be made."""
    for name, counts in _drawn_from(spec, found):
        able = [label for label, count in counts.items() if count >= _least(spec, name)]
        if len(able) >= 2 or not counts:
            continue
        yield Problem(
            f"only {len(able)} of the classes of '{name}' has {_least(spec, name)} train rows, "
            "and few rows of one class teach nothing",
            path=f"data.domains.{name}.train",
            hint=f"add rows of other classes, or leave '{name}' out",
        )


def shot_warnings(spec: FineTuneSpec, found: ReadData) -> Iterator[str]:
    """Classes of which fewer rows are there than are to be drawn."""
    for name, counts in _drawn_from(spec, found):
        wanted = _wanted(spec, name)
        short = {label: count for label, count in counts.items() if count < wanted}
        if not short:
            continue
        listed = list(short.items())[:_NAMED]
        named = ", ".join(f"'{label}' {count}" for label, count in listed)
        more = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
        what = "an episode" if name in learned_from(spec.data) else "the last point of its curve"
        yield (
            f"{what} of {name} draws {wanted} train rows of each class, and all there are of a "
            f"class that has fewer: {named}{more}"
        )


def _drawn_from(spec: FineTuneSpec, found: ReadData) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Domains with the classes of their train rows."""
    names = [name for name, _ in lent_splits(spec)]
    if isinstance(spec.method, MetaMethod):
        names = [*learned_from(spec.data), *names]
    for name in names:
        if (name, "train") in found.tables:
            yield name, class_counts([found.tables[name, "train"]])


def _wanted(spec: FineTuneSpec, name: str) -> int:
    """Rows of each class that are drawn at once."""
    if name in learned_from(spec.data):
        assert isinstance(spec.method, MetaMethod)
        return spec.method.shots + spec.method.query_of_each
    assert spec.evaluation.adaptation is not None
    return spec.evaluation.adaptation.shots[-1]


def _least(spec: FineTuneSpec, name: str) -> int:
    """Rows that a class must have to take part at all."""
    judged = isinstance(spec.method, MetaMethod) and spec.method.query_of_each > 0
    return 2 if judged and name in learned_from(spec.data) else 1
