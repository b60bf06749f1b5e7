"""Contradictions within `task` and `data`; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.classification import TEXT_PAIR
from orchestrator.specs.data import SPLITS, DataSpec, Source, Split, training_domains
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import (
    CustomTask,
    SeveralTasks,
    TextClassification,
    default_columns,
)
from orchestrator.specs.task_views import named_tasks

SourceAt = tuple[str, str, Split, Source]


def sources(data: DataSpec) -> Iterator[SourceAt]:
    """Every source with its path in the spec, its domain and its split."""
    for name, domain in data.domains.items():
        for split in SPLITS:
            for index, source in enumerate(getattr(domain, split) or ()):
                yield f"data.domains.{name}.{split}[{index}]", name, split, source


def _train_on(spec: FineTune) -> Iterator[Problem]:
    data = spec.spec.data
    able = [name for name, domain in data.domains.items() if domain.train is not None]
    for index, name in enumerate(data.train_on or ()):
        path = f"data.train_on[{index}]"
        if name not in data.domains:
            near = closest(name, data.domains)
            hint = f"did you mean {near}?" if near else "one of " + ", ".join(data.domains)
            yield Problem(f"unknown domain '{name}'", path=path, hint=hint)
        elif name not in able:
            instead = f", or train on {', '.join(able)}" if able else ""
            hint = f"add data.domains.{name}.train{instead}"
            yield Problem(f"domain '{name}' has no train split", path=path, hint=hint)
        elif name in (data.train_on or ())[:index]:
            hint = "remove one; `weight: 2.0` in its sources draws its rows twice"
            yield Problem(f"domain '{name}' is listed twice", path=path, hint=hint)


def _empty_domains(spec: FineTune) -> Iterator[Problem]:
    for name, domain in spec.spec.data.domains.items():
        if domain.train is None and domain.valid is None and domain.test is None:
            hint = "add train, valid or test, or remove the domain"
            yield Problem("no split is given", path=f"data.domains.{name}", hint=hint)


def _splits(spec: FineTune) -> Iterator[Problem]:
    data = spec.spec.data
    example = next(iter(data.domains))
    if data.train_on is None and not training_domains(data):
        hint = f"add data.domains.{example}.train: [{{path: …}}]"
        yield Problem("no domain has a train split", path="data.domains", hint=hint)
    if all(domain.test is None for domain in data.domains.values()):
        hint = f"add data.domains.{example}.test: [{{path: …}}], rows that training never sees"
        message = "no domain has a test split, so nothing could be measured"
        yield Problem(message, path="data.domains", hint=hint)


def _domain_names(spec: FineTune) -> Iterator[Problem]:
    if "mean" in spec.spec.data.domains:
        message = "`mean` names the mean over domains in selection.metric"
        yield Problem(message, path="data.domains.mean", hint="call the domain otherwise")


def _columns(spec: FineTune) -> Iterator[Problem]:
    if isinstance(spec.spec.task, SeveralTasks):
        return  # a source has the roles of several: see `tasks_checks`
    defaults = default_columns(spec.spec.task)
    for place, _, _, source in sources(spec.spec.data):
        columns = source.columns or {}
        for role in columns:
            if role not in defaults:
                near = closest(role, defaults)
                known = ", ".join(defaults)
                hint = (
                    f"did you mean {near}?" if near else f"roles of {spec.spec.task.type}: {known}"
                )
                if role == TEXT_PAIR and isinstance(spec.spec.task, TextClassification):
                    hint = "write task.pairs: true for rows of two texts"
                message = f"'{role}' is not a role of a column"
                yield Problem(message, path=f"{place}.columns.{role}", hint=hint)
        for role, column in columns.items():
            if not column.strip():
                hint = f"name the column, or remove it for '{defaults.get(role, role)}'"
                yield Problem("names no column", path=f"{place}.columns.{role}", hint=hint)
        taken: dict[str, str] = {}
        for role, column in {**defaults, **columns}.items():
            if role in defaults and column in taken:
                message = f"{taken[column]} and {role} are the same column"
                yield Problem(message, path=f"{place}.columns", hint="name two columns")
            taken.setdefault(column, role)


def _files_alone(spec: FineTune) -> Iterator[Problem]:
    """A custom task's script gets files: what tells how rows are read would be without effect."""
    if not isinstance(spec.spec.task, CustomTask):
        return
    for place, _, _, source in sources(spec.spec.data):
        given = {
            "hub": source.hub,
            "columns": source.columns,
            "format": source.format,
            "weight": None if source.weight == 1.0 else source.weight,
        }
        for field, value in given.items():
            if value is not None:
                hint = "give files by `path`" if field == "hub" else "remove it"
                message = "a custom task's script is given files and reads them itself"
                yield Problem(message, path=f"{place}.{field}", hint=hint)


def _weights(spec: FineTune) -> Iterator[Problem]:
    for place, _, split, source in sources(spec.spec.data):
        if split != "train" and source.weight != 1.0:
            yield Problem(
                f"a weight draws training rows more or less often; {split} is read once, whole",
                path=f"{place}.weight",
                hint="remove it",
            )


def _labels(spec: FineTune) -> Iterator[Problem]:
    for path, task in named_tasks(spec.spec):
        labels = (task.labels or ()) if isinstance(task, TextClassification) else ()
        yield from _labels_of(labels, path)


def _labels_of(labels: tuple[str, ...], task: str) -> Iterator[Problem]:
    for index, label in enumerate(labels):
        path = f"{task}.labels[{index}]"
        if label != label.strip() or not label:
            message = "a label must not begin or end with a space"
            yield Problem(message, path=path, hint=f"write '{label.strip()}'")
        elif label in labels[:index]:
            yield Problem(f"'{label}' is listed twice", path=path, hint="remove one")


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("data.train_on", "data.domains"), _train_on),
    (("data.domains",), _empty_domains),
    (("data.train_on", "data.domains"), _splits),
    (("data.domains",), _domain_names),
    (("data.domains", "task.type"), _columns),
    (("data.domains",), _weights),
    (("data.domains", "task.type"), _files_alone),
    (("task.labels", "tasks"), _labels),
)

OF_ROWS = (_splits, _columns, _weights)
"""Checks of how rows are read and learned from."""
