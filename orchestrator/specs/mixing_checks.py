"""Contradictions within `data.mixing` and `task.class_weights`; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.data import training_domains
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.mixing import MixingSpec, StageSpec
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import CustomTask, SeveralTasks, TextClassification
from orchestrator.specs.task_views import named_tasks

_SHARES_TOLERANCE = 1e-6


def _scripts(spec: FineTune) -> Iterator[Problem]:
    if isinstance(spec.spec.task, CustomTask) and spec.spec.data.mixing is not None:
        yield Problem(
            "a custom task's script is given files and mixes them itself",
            path="data.mixing",
            hint="remove it",
        )


def _weights(spec: FineTune) -> Iterator[Problem]:
    mixing, learned = _mixing(spec), training_domains(spec.spec.data)
    if mixing is None or mixing.weights is None:
        return
    yield from _unknown(mixing.weights, learned, "data.mixing.weights.{name}")
    for name in learned:
        if name not in mixing.weights:
            hint = f"write {name}: 1, or remove the domain from data.train_on"
            message = f"domain '{name}' is learned from and has no weight"
            yield Problem(message, path="data.mixing.weights", hint=hint)


def _stages(spec: FineTune) -> Iterator[Problem]:
    mixing, learned = _mixing(spec), training_domains(spec.spec.data)
    if mixing is None or mixing.stages is None:
        return
    for number, stage in enumerate(mixing.stages):
        path = f"data.mixing.stages[{number}].domains"
        yield from _unknown(stage.domains, learned, path + "[{number}]")
    drawn = {name for stage in mixing.stages for name in stage.domains}
    for name in learned:
        if name not in drawn:
            hint = "add it to a stage, or remove it from data.train_on"
            message = f"no stage draws rows of domain '{name}'"
            yield Problem(message, path="data.mixing.stages", hint=hint)
    yield from _shares(mixing.stages)


def _shares(stages: tuple[StageSpec, ...]) -> Iterator[Problem]:
    given = [stage.share for stage in stages if stage.share is not None]
    if given and len(given) < len(stages):
        number = next(at for at, stage in enumerate(stages) if stage.share is None)
        yield Problem(
            "other stages say their share of the steps, this one does not",
            path=f"data.mixing.stages[{number}].share",
            hint="give the share of every stage, or of none",
        )
    elif given and abs(sum(given) - 1) > _SHARES_TOLERANCE:
        yield Problem(
            f"the shares of all stages add up to {sum(given):g}, not to 1",
            path="data.mixing.stages",
            hint="change them, or remove all and every stage lasts equally long",
        )


def _replay(spec: FineTune) -> Iterator[Problem]:
    mixing, data = _mixing(spec), spec.spec.data
    if mixing is None or mixing.replay is None:
        return
    learned = training_domains(data)
    for number, name in enumerate(mixing.replay.domains):
        path = f"data.mixing.replay.domains[{number}]"
        if name not in data.domains:
            yield _no_domain(name, path, data.domains)
        elif name in learned:
            where = "data.train_on" if data.train_on else "every domain with a train split"
            yield Problem(
                f"domain '{name}' is learned from already ({where})",
                path=path,
                hint="name what is to be learned in data.train_on, without it",
            )
        elif data.domains[name].train is None:
            hint = f"add data.domains.{name}.train"
            yield Problem(f"domain '{name}' has no train split", path=path, hint=hint)
        elif name in mixing.replay.domains[:number]:
            yield Problem(f"domain '{name}' is listed twice", path=path, hint="remove one")


def _classes(spec: FineTune) -> Iterator[Problem]:
    mixing, task = _mixing(spec), spec.spec.task
    if mixing is not None and mixing.balance_classes and not isinstance(task, TextClassification):
        message = f"rows of {task.type} have no classes to balance"
        yield Problem(message, path="data.mixing.balance_classes", hint="remove it")


def _class_weights(spec: FineTune) -> Iterator[Problem]:
    for path, task in named_tasks(spec.spec):
        if not isinstance(task, TextClassification) or task.class_weights is None:
            continue
        path = f"{path}.class_weights"
        if spec.spec.training.loss is not None:
            yield Problem(
                f"the loss is {spec.spec.training.loss}'s, which is given no weights",
                path=path,
                hint="remove it or training.loss",
            )
        # Of labels that the data tell, the data tell which have no weight.
        if task.class_weights.weights is not None and task.labels is not None:
            yield from _unweighed(task.class_weights.weights, task.labels, f"{path}.weights")


def _unweighed(weights: dict[str, float], labels: tuple[str, ...], path: str) -> Iterator[Problem]:
    for label in weights:
        if label not in labels:
            near = closest(label, labels)
            hint = f"did you mean '{near}'?" if near else "one of " + ", ".join(labels)
            message = f"the labels of the task do not list '{label}'"
            yield Problem(message, path=f"{path}.{label}", hint=hint)
    for label in labels:
        if label not in weights:
            yield Problem(f"'{label}' has no weight", path=path, hint=f"write {label}: 1")


def _mixing(spec: FineTune) -> MixingSpec | None:
    # Scripts mix their files, and several tasks are sampled by their method: told there.
    mixes_itself = isinstance(spec.spec.task, (CustomTask, SeveralTasks))
    return None if mixes_itself else spec.spec.data.mixing


def _unknown(names: Collection[str], learned: Collection[str], path: str) -> Iterator[Problem]:
    for number, name in enumerate(names):
        if name not in learned:
            yield _no_domain(name, path.format(name=name, number=number), learned)


def _no_domain(name: str, path: str, known: Collection[str]) -> Problem:
    near = closest(name, known)
    hint = f"did you mean {near}?" if near else "one of " + ", ".join(known)
    return Problem(f"'{name}' is no domain that could be drawn here", path=path, hint=hint)


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("task.type", "data.mixing"), _scripts),
    (("task.type", "data.mixing", "data.train_on", "data.domains"), _weights),
    (("task.type", "data.mixing", "data.train_on", "data.domains"), _stages),
    (("task.type", "data.mixing", "data.train_on", "data.domains"), _replay),
    (("task.type", "data.mixing"), _classes),
    (("task", "tasks", "training.loss"), _class_weights),
)
