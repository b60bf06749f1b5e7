"""Contradictions within `tasks`, and between it and everything else; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.classification import SINGLE_LABEL
from orchestrator.specs.data import training_domains
from orchestrator.specs.data_checks import sources
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.method import MultiTaskMethod
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import (
    LANGUAGE_TASKS,
    SeveralTasks,
    TextClassification,
    Translation,
    default_columns,
)
from orchestrator.specs.task_views import MEAN, key_of, learned_keys, plain_task


def _one_of_both(spec: FineTune) -> Iterator[Problem]:
    tasks, task = spec.spec.tasks, spec.spec.task
    if tasks is not None and not isinstance(task, SeveralTasks):
        hint = "remove one of them"
        yield Problem("give either `task` or `tasks`, not both", path="task", hint=hint)
    if tasks is None and isinstance(task, SeveralTasks):
        hint = "write tasks: {one: {type: …, domains: […]}, other: {…}} instead of task"
        yield Problem("a job of several tasks names them in `tasks`", path="task.type", hint=hint)


def _method(spec: FineTune) -> Iterator[Problem]:
    is_multi = isinstance(spec.spec.method, MultiTaskMethod)
    if spec.spec.tasks is not None and not is_multi:
        yield Problem(
            f"{spec.spec.method.type} learns one task, and `tasks` names {len(spec.spec.tasks)}",
            path="method.type",
            hint="write type: multi_task, which trains every weight; adapters and frozen layers "
            "take one task",
        )
    if is_multi and spec.spec.tasks is None and not isinstance(spec.spec.task, SeveralTasks):
        yield Problem(
            "multi_task learns several tasks, and there is one",
            path="method.type",
            hint="write tasks: {one: …, other: …} instead of task, or method.type: full",
        )


def _kinds(spec: FineTune) -> Iterator[Problem]:
    """Heads of classes stand beside each other; tokens are all predicted by the base's own."""
    tasks = spec.spec.tasks or {}
    of_tokens = {name: isinstance(entry, LANGUAGE_TASKS) for name, entry in tasks.items()}
    first = next(iter(of_tokens), None)
    for name, predicts in of_tokens.items():
        if first is not None and predicts != of_tokens[first]:
            yield Problem(
                f"{tasks[name].type} and {tasks[first].type} need different kinds of base",
                path=f"tasks.{name}.type",
                hint="give classification tasks one job, and tasks that predict tokens another",
            )
    for name, entry in tasks.items():
        if isinstance(entry, TextClassification) and (
            entry.kind != SINGLE_LABEL or entry.has_pairs
        ):
            yield Problem(
                "as one of several tasks, classification gives one label to one text",
                path=f"tasks.{name}.{'pairs' if entry.has_pairs else 'problem'}",
                hint="remove it, or give this task a job of its own",
            )
        if isinstance(entry, Translation) and (entry.source_language or entry.target_language):
            yield Problem(
                "tasks share a tokenizer, which has one pair of languages",
                path=f"tasks.{name}.source_language",
                hint="remove the languages and write a prompt, or give the pair a job of its own",
            )


def _domains(spec: FineTune) -> Iterator[Problem]:
    data, tasks = spec.spec.data, spec.spec.tasks or {}
    learned = training_domains(data)
    for name, entry in tasks.items():
        for number, domain in enumerate(entry.domains):
            path = f"tasks.{name}.domains[{number}]"
            if domain not in data.domains:
                near = closest(domain, data.domains)
                hint = f"did you mean {near}?" if near else "one of " + ", ".join(data.domains)
                yield Problem(f"unknown domain '{domain}'", path=path, hint=hint)
            elif domain in entry.domains[:number]:
                yield Problem(f"domain '{domain}' is listed twice", path=path, hint="remove one")
        if not set(entry.domains) & set(learned):
            where = "data.train_on" if data.train_on else "none of its domains has a train split"
            hint = f"add one of {', '.join(learned)}, or a train split to one of its domains"
            message = f"task '{name}' has no rows to learn from ({where})"
            yield Problem(message, path=f"tasks.{name}.domains", hint=hint)
        if all(data.domains[d].test is None for d in entry.domains if d in data.domains):
            hint = f"add data.domains.{entry.domains[0]}.test"
            message = f"task '{name}' has no test split, so it could not be measured"
            yield Problem(message, path=f"tasks.{name}.domains", hint=hint)
    used = {domain for entry in tasks.values() for domain in entry.domains}
    for domain in data.domains if tasks else ():
        if domain not in used:
            hint = "add it to the domains of a task, or remove it"
            yield Problem("no task reads this domain", path=f"data.domains.{domain}", hint=hint)


def _columns(spec: FineTune) -> Iterator[Problem]:
    for name, entry in (spec.spec.tasks or {}).items():
        defaults = default_columns(plain_task(entry))
        for role, column in (entry.columns or {}).items():
            path = f"tasks.{name}.columns.{role}"
            if role not in defaults:
                near = closest(role, defaults)
                known = ", ".join(defaults)
                hint = f"did you mean {near}?" if near else f"roles of {entry.type}: {known}"
                yield Problem(f"'{role}' is not a role of a column", path=path, hint=hint)
            elif not column.strip():
                yield Problem("names no column", path=path, hint="name it, or remove the role")
    yield from _columns_of_sources(spec)


def _columns_of_sources(spec: FineTune) -> Iterator[Problem]:
    tasks = spec.spec.tasks or {}
    for place, domain, _, source in sources(spec.spec.data) if tasks else ():
        roles = {
            role
            for entry in tasks.values()
            if domain in entry.domains
            for role in default_columns(plain_task(entry))
        }
        for role in source.columns or {}:
            if role not in roles:
                hint = "roles of its tasks: " + ", ".join(sorted(roles))
                message = f"'{role}' is not a role of a column"
                yield Problem(message, path=f"{place}.columns.{role}", hint=hint)


def _sampling(spec: FineTune) -> Iterator[Problem]:
    tasks, method = spec.spec.tasks, spec.spec.method
    if tasks is None or not isinstance(method, MultiTaskMethod) or method.weights is None:
        return
    for name in method.weights:
        if name not in tasks:
            near = closest(name, tasks)
            hint = f"did you mean {near}?" if near else "one of " + ", ".join(tasks)
            yield Problem(f"unknown task '{name}'", path=f"method.weights.{name}", hint=hint)
    for name in tasks:
        if name not in method.weights:
            message = f"task '{name}' has no weight, so it would never be drawn"
            yield Problem(message, path="method.weights", hint=f"write {name}: 1")


def _balancing(spec: FineTune) -> Iterator[Problem]:
    """What the uncertainties learn is not to be weighed by hand too."""
    method = spec.spec.method
    if not isinstance(method, MultiTaskMethod) or method.balancing == "static":
        return
    for name, entry in (spec.spec.tasks or {}).items():
        if entry.weight != 1.0:
            yield Problem(
                "the task's uncertainty is learned, so its loss has no weight of its own",
                path=f"tasks.{name}.weight",
                hint="remove it, or write method.balancing: static",
            )


def _alone(spec: FineTune) -> Iterator[Problem]:
    """What is made for one task."""
    if spec.spec.tasks is None:
        return
    body = spec.spec
    given = {
        "data.mixing": (body.data.mixing, "method.sampling says how often each task is drawn"),
        "data.transform": (body.data.transform, "the rows of several tasks differ in their roles"),
        "data.collator": (body.data.collator, "a batch holds rows of several tasks"),
        "training.loss": (body.training.loss, "each task has its own loss"),
        "evaluation.gates": (body.evaluation.gates, "gates are of the domains of one task"),
        "evaluation.slices": (body.evaluation.slices, "slices are of the rows of one task"),
        "training.batching": (body.training.batching, "a batch holds rows of several tasks"),
        "model.optimizer": (
            body.model is not None and body.model.optimizer,
            "the heads are new, and so is what the optimizer knows of them",
        ),
        "evaluation.custom_metrics": (
            body.evaluation.custom_metrics,
            "each task has its own classes",
        ),
        "training.layer_decay": (
            body.training.layer_decay,
            "several heads stand on the layers: they learn at training.learning_rate",
        ),
    }
    for path, (value, why) in given.items():
        if value:
            yield Problem(f"{why}; this is for one task", path=path, hint="remove it")


def _selection(spec: FineTune) -> Iterator[Problem]:
    chosen, tasks = spec.spec.selection.metric, spec.spec.tasks
    if chosen is None or tasks is None:
        return
    where, _, metric = chosen.rpartition("/")
    task, _, domain = where.rpartition("/")
    path = "selection.metric"
    if where == MEAN:
        return
    if not task or task not in tasks:
        known = ", ".join(f"{name}/{MEAN}/{metric}" for name in tasks)
        yield Problem(
            f"'{where}' is no domain of a task",
            path=path,
            hint=f"write {MEAN}/{metric}, {known}, or a task, one of its domains and a metric",
        )
    elif domain != MEAN and domain not in tasks[task].domains:
        known = ", ".join([*tasks[task].domains, MEAN])
        yield Problem(
            f"task '{task}' reads no domain '{domain}'", path=path, hint=f"one of {known}"
        )
    elif domain != MEAN and not _has_valid(spec, task, domain):
        yield Problem(
            f"domain '{domain}' has no valid split, and selection never reads test",
            path=path,
            hint=f"add data.domains.{domain}.valid, or select by a domain that is learned from",
        )


def _has_valid(spec: FineTune, task: str, domain: str) -> bool:
    found = spec.spec.data.domains.get(domain)
    given = found is not None and found.valid is not None
    return given or key_of(task, domain) in learned_keys(spec.spec)


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("task", "tasks"), _one_of_both),
    (("task.type", "tasks", "method.type"), _method),
    (("tasks",), _kinds),
    (("tasks", "data.domains", "data.train_on"), _domains),
    (("tasks", "data.domains"), _columns),
    (("tasks", "method"), _sampling),
    (("tasks", "method"), _balancing),
    (("tasks", "data", "training", "evaluation", "model"), _alone),
    (("tasks", "selection.metric", "data.domains", "data.train_on"), _selection),
)
