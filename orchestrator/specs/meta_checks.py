"""Contradictions between meta-learning, the curves that measure it, and everything else.

Part of `specs.checks`. Whether the rows are enough is told by `inspect.shot_checks`, which has
read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.adaptation import adaptation_domains
from orchestrator.specs.classification import SINGLE_LABEL
from orchestrator.specs.data import drawn_domains, training_domains
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.method import AdapterMethod, MetaMethod
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import TextClassification

LEAST_DOMAINS = 2
_MEAN = "mean"


def _learns_classes(spec: FineTune) -> Iterator[Problem]:
    body = spec.spec
    if isinstance(body.task, TextClassification) and body.task.kind == SINGLE_LABEL:
        return
    what = getattr(body.task, "kind", body.task.type)
    if isinstance(body.method, MetaMethod):
        yield Problem(
            f"an episode draws rows of each class, and {what} has no one class a row",
            path="method.type",
            hint="write another method.type, or classify by single labels",
        )
    if body.evaluation.adaptation is not None:
        yield Problem(
            f"its curves are over rows of each class, and {what} has no one class a row",
            path="evaluation.adaptation",
            hint="remove it",
        )


def _domains(spec: FineTune) -> Iterator[Problem]:
    """One domain alone has nothing to tell of others."""
    learned = training_domains(spec.spec.data)
    if isinstance(spec.spec.method, MetaMethod) and len(learned) < LEAST_DOMAINS:
        yield Problem(
            f"episodes of {learned[0] if learned else 'no domain'} alone teach nothing about "
            "domains that are new: meta needs two or more to learn from",
            path="data.train_on",
            hint="add domains with train splits to it, or write method.type: full",
        )


def _episodes(spec: FineTune) -> Iterator[Problem]:
    method, workers = spec.spec.method, spec.spec.resources.workers
    if not isinstance(method, MetaMethod):
        return
    number = method.episodes_per_step
    if number % workers:
        yield Problem(
            f"{number} episodes a step cannot be divided among {workers} workers",
            path="method.episodes_per_step",
            hint=f"write {-(-number // workers) * workers}",
        )
    fewest = spec.spec.resources.min_workers
    if method.outer_optimizer == "sgd" and fewest is not None and fewest < workers:
        yield Problem(
            "a checkpoint of sgd fits only the number of workers that saved it",
            path="resources.min_workers",
            hint="remove it, or write method.outer_optimizer: adamw",
        )
    if method.algorithm == "reptile" and method.query is not None:
        yield Problem(
            "reptile learns from where the inner steps end, and looks at no other rows",
            path="method.query",
            hint="remove it, or write method.algorithm: fomaml",
        )


def _engine(spec: FineTune) -> Iterator[Problem]:
    """An episode is learned on a whole copy of the weights."""
    body = spec.spec
    if not isinstance(body.method, MetaMethod):
        return
    if body.engine.zero_stage == 3:
        yield Problem(
            "the inner steps of meta need whole weights on every worker, which ZeRO 3 shards",
            path="engine.zero_stage",
            hint="write engine.zero_stage: 2, or remove it",
        )
    if body.engine.offload == "parameters":
        yield Problem(
            "the inner steps of meta need whole weights on the GPU",
            path="engine.offload",
            hint="write engine.offload: optimizer, or remove it",
        )
    if body.training.precision == "fp16":
        yield Problem(
            "fp16 scales the loss, and the inner steps of meta take none from the engine",
            path="training.precision",
            hint="write bf16 or fp32",
        )


def _rows_as_they_are(spec: FineTune) -> Iterator[Problem]:
    """Episodes choose their rows themselves."""
    body = spec.spec
    if not isinstance(body.method, MetaMethod):
        return
    given = {
        "data.mixing": body.data.mixing,
        "training.batching": body.training.batching,
        "task.class_weights": getattr(body.task, "class_weights", None),
    }
    for path, value in given.items():
        if value is not None:
            yield Problem(
                "an episode draws as many rows of each class of a domain, and domains take turns",
                path=path,
                hint="remove it, or write another method.type",
            )
    for name in training_domains(body.data):
        domain = body.data.domains.get(name)
        for index, source in enumerate((domain.train if domain else None) or ()):
            if source.weight != 1.0:
                yield Problem(
                    "an episode draws as many rows of every domain and class: weights do nothing",
                    path=f"data.domains.{name}.train[{index}].weight",
                    hint="remove it",
                )


def _selection(spec: FineTune) -> Iterator[Problem]:
    """On valid the weights have learned from a few training rows of the domain first."""
    body = spec.spec
    domain = (body.selection.metric or _MEAN).partition("/")[0]
    if not isinstance(body.method, MetaMethod) or domain == _MEAN:
        return
    learned = training_domains(body.data)
    if domain in body.data.domains and domain not in learned:
        yield Problem(
            f"the weights would first learn from training rows of '{domain}', which is held out",
            path="selection.metric",
            hint=f"select by mean, or by one of {', '.join(learned)}",
        )


def _held_out(spec: FineTune) -> Iterator[Problem]:
    body = spec.spec
    how, data = body.evaluation.adaptation, body.data
    if how is None:
        return
    learned = drawn_domains(data)
    if how.domains is None and not adaptation_domains(how, data):
        yield Problem(
            "no domain is held out with rows to learn from and rows to measure on",
            path="evaluation.adaptation",
            hint="leave a domain with train and test splits out of data.train_on",
        )
    for index, name in enumerate(how.domains or ()):
        path = f"evaluation.adaptation.domains[{index}]"
        if name not in data.domains:
            near = closest(name, data.domains)
            hint = f"did you mean {near}?" if near else "one of " + ", ".join(data.domains)
            yield Problem(f"unknown domain '{name}'", path=path, hint=hint)
            continue
        if name in learned:
            hint = "remove it here or from data.train_on"
            yield Problem(f"'{name}' is learned from, so it is not new", path=path, hint=hint)
        for split in ("train", "test"):
            if getattr(data.domains[name], split) is None:
                hint = f"add data.domains.{name}.{split}, or remove '{name}' here"
                yield Problem(f"domain '{name}' has no {split} split", path=path, hint=hint)


def _compared(spec: FineTune) -> Iterator[Problem]:
    how, method = spec.spec.evaluation.adaptation, spec.spec.method
    if how is None:
        return
    if "joint" in how.compare_with and not isinstance(method, MetaMethod):
        yield Problem(
            f"method {method.type} learns all training domains jointly itself",
            path="evaluation.adaptation.compare_with",
            hint="remove joint",
        )
    if spec.spec.evaluation.custom_metrics is not None:
        yield Problem(
            "points are measured by each worker alone, and a metric of one's own by all together",
            path="evaluation.custom_metrics",
            hint="remove it, or evaluation.adaptation",
        )
    if isinstance(method, AdapterMethod) and not method.merge:
        yield Problem(
            "an adapter would learn on by other weights than what it is compared with",
            path="evaluation.adaptation",
            hint="remove it, or write method.merge: true",
        )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("task", "method.type", "evaluation.adaptation"), _learns_classes),
    (("method.type", "data.train_on", "data.domains"), _domains),
    (("method", "resources"), _episodes),
    (("method.type", "engine", "training.precision"), _engine),
    (
        ("method.type", "data.domains", "data.train_on", "data.mixing", "task", "training"),
        _rows_as_they_are,
    ),
    (("method.type", "selection.metric", "data.domains", "data.train_on"), _selection),
    (("evaluation.adaptation", "data.domains", "data.train_on"), _held_out),
    (("evaluation.adaptation", "evaluation.custom_metrics", "method"), _compared),
)
