"""Contradictions between the task and everything else; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.finetune import FineTune, FineTuneSpec
from orchestrator.specs.method import PretrainMethod
from orchestrator.specs.metrics import METRIC_NAMES
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import (
    LANGUAGE_TASKS,
    SOURCE_PLACE,
    TEXT_PLACE,
    UNLABELLED_TASKS,
    CausalLm,
    Summarization,
    TaskSpec,
    TextClassification,
    Translation,
)
from orchestrator.specs.task_views import metrics_of_job, named_tasks, tasks_of

WRITES_TEXT = (Translation, Summarization)


def writes_texts(spec: FineTuneSpec) -> bool:
    """Whether the job's model, or one of its tasks, writes translations or summaries."""
    return any(isinstance(task, WRITES_TEXT) for task in tasks_of(spec))


def target_length(spec: FineTuneSpec) -> int | None:
    """Tokens of the longest text a job's model learns to write; None where it writes none."""
    if not writes_texts(spec):
        return None
    return spec.training.max_target_length or spec.training.max_length


def _metrics(spec: FineTune) -> Iterator[Problem]:
    metrics = spec.spec.evaluation.metrics or ()
    names = metrics_of_job(spec.spec)
    for index, metric in enumerate(metrics):
        path = f"evaluation.metrics[{index}]"
        if metric in metrics[:index]:
            yield Problem(f"'{metric}' is listed twice", path=path, hint="remove one")
        elif metric not in names.all:
            message = f"{_shown(spec)} has no metric '{metric}'"
            yield Problem(message, path=path, hint="one of " + ", ".join(names.all))


def _shown(spec: FineTune) -> str:
    """The task as messages name it."""
    task = spec.spec.task
    if isinstance(task, TextClassification) and task.problem is not None:
        return f"{task.type} with problem: {task.problem}"
    return task.type


def _selection(spec: FineTune) -> Iterator[Problem]:
    """Of the metric's name; its domain is looked at with the data."""
    chosen = spec.spec.selection.metric
    if chosen is None:
        return
    domain, _, metric = chosen.rpartition("/")
    known = metrics_of_job(spec.spec)
    names = (*known.forced, *(spec.spec.evaluation.custom_metrics or ()))
    if metric in names:
        return
    path = "selection.metric"
    if metric in known.generated:
        yield Problem(
            f"{metric} is measured on texts the model writes, at the end; it cannot decide",
            path=path,
            hint=f"select by {domain}/{known.forced[0]}, or publish the last weights: last: true",
        )
        return
    near = closest(metric, names)
    hint = f"write {domain}/{near}" if near else "one of " + ", ".join(names)
    what = f"{_shown(spec)} has no metric" if metric in METRIC_NAMES else "unknown metric"
    yield Problem(f"{what} '{metric}'", path=path, hint=hint)


def _prompt(spec: FineTune) -> Iterator[Problem]:
    for path, task in named_tasks(spec.spec):
        yield from _prompt_of(task, path)


def _prompt_of(task: TaskSpec, path: str) -> Iterator[Problem]:
    if not isinstance(task, WRITES_TEXT) or task.prompt is None:
        return
    place = SOURCE_PLACE if isinstance(task, Translation) else TEXT_PLACE
    if task.prompt.count(place) != 1:
        times = "not" if place not in task.prompt else f"{task.prompt.count(place)} times"
        yield Problem(
            f"{place} stands {times} in the prompt",
            path=f"{path}.prompt",
            hint=f"write it once, where the text belongs, e.g. 'Summarize: {place}'"
            if place == TEXT_PLACE
            else f"write it once, where the text belongs, e.g. 'English: {place} German:'",
        )


def _languages(spec: FineTune) -> Iterator[Problem]:
    task = spec.spec.task
    if not isinstance(task, Translation):
        return
    source, target = task.source_language, task.target_language
    if (source is None) != (target is None):
        missing = "target_language" if target is None else "source_language"
        yield Problem(
            "a multilingual base needs both languages",
            path=f"task.{missing}",
            hint=f"add task.{missing}, or remove the other one",
        )
    elif source is not None and source == target:
        hint = "name the language of the translations"
        yield Problem("both languages are the same", path="task.target_language", hint=hint)


def _texts_alone(spec: FineTune) -> Iterator[Problem]:
    """What tells how texts are written has no effect where none are."""
    if writes_texts(spec.spec):
        return
    told = f"{spec.spec.task.type} writes no texts"
    if spec.spec.training.max_target_length is not None:
        hint = "remove it; training.max_length cuts its rows"
        yield Problem(told, path="training.max_target_length", hint=hint)
    if spec.spec.evaluation.generation is not None:
        yield Problem(told, path="evaluation.generation", hint="remove it")


def _functions(spec: FineTune) -> Iterator[Problem]:
    """Functions that take the logits or labels of whole rows."""
    task, body = spec.spec.task, spec.spec
    if not isinstance(task, LANGUAGE_TASKS):
        return
    given = {
        "training.loss": body.training.loss,
        "data.collator": body.data.collator,
        "evaluation.custom_metrics": body.evaluation.custom_metrics,
    }
    for path, value in given.items():
        if value:
            yield Problem(
                f"a function of one's own is given the classes of rows, and {task.type} has none",
                path=path,
                hint="remove it; data.transform works, and task: {type: custom} runs any script",
            )


def _pretraining(spec: FineTune) -> Iterator[Problem]:
    """Texts without labels are learned by `pretrain`, and nothing else is."""
    task, method = spec.spec.task, spec.spec.method
    if isinstance(method, PretrainMethod):
        if isinstance(task, CausalLm) and task.rows != "text":
            yield Problem(
                f"pretrain learns plain texts, not rows of kind {task.rows}",
                path="task.rows",
                hint="write rows: text, or method: {type: full}",
            )
        elif not isinstance(task, (CausalLm, *UNLABELLED_TASKS)):
            yield Problem(
                f"pretrain learns texts without labels, which {task.type} is not",
                path="method.type",
                hint="write type: full, or a task of masked-lm, denoising or causal-lm",
            )
    elif isinstance(task, UNLABELLED_TASKS):
        yield Problem(
            f"{task.type} makes a base for other jobs, which method {method.type} does not",
            path="method.type",
            hint="write method: {type: pretrain}",
        )


def _method(spec: FineTune) -> Iterator[Problem]:
    method = spec.spec.method
    if not isinstance(spec.spec.task, LANGUAGE_TASKS) or method.type != "freeze":
        return
    if method.all_layers:
        yield Problem(
            f"nothing would learn: {spec.spec.task.type} puts no new head on the base",
            path="method.all_layers",
            hint="write num_layers instead, so that the upper layers learn",
        )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("task.type", "tasks", "evaluation.metrics"), _metrics),
    (("task.type", "tasks", "selection.metric", "evaluation.custom_metrics"), _selection),
    (("task", "tasks"), _prompt),
    (("task",), _languages),
    (("task.type", "tasks", "training.max_target_length", "evaluation.generation"), _texts_alone),
    (("task.type", "training.loss", "data.collator", "evaluation.custom_metrics"), _functions),
    (("task.type", "method"), _method),
    (("task", "method"), _pretraining),
)

OF_TASKS = (_metrics, _selection, _texts_alone)
"""Checks of tasks that are measured here: a custom task's script measures itself."""
