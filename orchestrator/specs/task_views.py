"""A job of several tasks, seen as one job a task: what reads, encodes and measures needs no more.

Keys of such a job are `task/domain` where those of others are the domain's name: of splits, of
figures and of the selection metric. Called by everything that reads data or shows figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.specs.data import DataSpec, Domain, Source, training_domains
from orchestrator.specs.finetune import FineTuneSpec
from orchestrator.specs.metrics import TASK_METRICS, TaskMetrics
from orchestrator.specs.mixing import MixingSpec
from orchestrator.specs.task import LANGUAGE_TASKS, TaskSpec, metrics_of
from orchestrator.specs.tasks import PLAIN, TaskEntry

MEAN = "mean"
_USUAL = "text-classification"


def task_views(spec: FineTuneSpec) -> dict[str, FineTuneSpec]:
    """Name of each task -> the spec as if it were the only one; nothing for a job of one task."""
    return {
        name: spec.model_copy(
            update={
                "task": plain_task(entry),
                "tasks": None,
                "data": _data_of(entry, spec.data),
            }
        )
        for name, entry in (spec.tasks or {}).items()
    }


def plain_task(entry: TaskEntry) -> TaskSpec:
    """The task alone, as a job of one task has it."""
    (kind,) = (kind for kind in PLAIN if isinstance(entry, kind))
    return kind.model_validate(entry.model_dump(include=set(kind.model_fields)))


def tasks_of(spec: FineTuneSpec) -> tuple[TaskSpec, ...]:
    """Every task of the job: one, as a rule."""
    return tuple(task for _, task in named_tasks(spec))


def named_tasks(spec: FineTuneSpec) -> Iterator[tuple[str, TaskSpec]]:
    """Every task with its path in the spec."""
    if not spec.tasks:
        yield "task", spec.task
        return
    for name, entry in spec.tasks.items():
        yield f"tasks.{name}", plain_task(entry)


def key_of(task: str, domain: str) -> str:
    return f"{task}/{domain}"


def task_of_key(key: str) -> str:
    return key.partition("/")[0]


def learned_keys(spec: FineTuneSpec) -> tuple[str, ...]:
    """Domains learned from, or `task/domain` where there are several tasks."""
    if not spec.tasks:
        return training_domains(spec.data)
    return tuple(
        key_of(name, domain)
        for name, view in task_views(spec).items()
        for domain in training_domains(view.data)
    )


def deciding_keys(spec: FineTuneSpec) -> tuple[str, ...]:
    """Those whose valid splits the selection metric is of."""
    assert spec.selection.metric is not None, "a resolved spec names it"
    where = spec.selection.metric.rpartition("/")[0]
    learned = learned_keys(spec)
    if where == MEAN:
        return learned
    task, _, domain = where.rpartition("/")
    if domain == MEAN:
        return tuple(key for key in learned if task_of_key(key) == task)
    return (where,)


def metrics_of_job(spec: FineTuneSpec) -> TaskMetrics:
    """Of the job's tasks together; the tasks of one base have the same forced ones."""
    # A job whose tasks are missing is refused elsewhere, and may be asked for its metrics.
    all_of = [metrics_of(task) or TASK_METRICS[_USUAL] for task in tasks_of(spec)]
    if len(all_of) == 1:
        return all_of[0]
    first = all_of[0]
    shared = [name for name in first.forced if all(name in each.forced for each in all_of)]
    return TaskMetrics(
        forced=tuple(shared),
        generated=_together(each.generated for each in all_of),
        shown=_together(each.shown for each in all_of),
        selection=first.selection,
    )


def sampling_of(spec: FineTuneSpec) -> MixingSpec:
    """How often each task is drawn, as `inspect.mixing` counts it with tasks for domains."""
    method = spec.method
    assert method.type == "multi_task", "several tasks have no other method"
    return MixingSpec(
        strategy=method.sampling, temperature=method.temperature, weights=method.weights
    )


def predicts_tokens(spec: FineTuneSpec) -> bool:
    return all(isinstance(task, LANGUAGE_TASKS) for task in tasks_of(spec))


def has_heads(spec: FineTuneSpec) -> bool:
    """Whether each of several tasks has a head, and a published folder, of its own."""
    return bool(spec.tasks) and not predicts_tokens(spec)


def _data_of(entry: TaskEntry, data: DataSpec) -> DataSpec:
    learned = tuple(name for name in training_domains(data) if name in entry.domains)
    columns = entry.columns or {}
    domains = {
        name: _with_columns(domain, columns)
        for name, domain in data.domains.items()
        if name in entry.domains
    }
    return data.model_copy(update={"domains": domains, "train_on": learned})


def _with_columns(domain: Domain, columns: dict[str, str]) -> Domain:
    def changed(sources: tuple[Source, ...] | None) -> tuple[Source, ...] | None:
        if sources is None or not columns:
            return sources
        return tuple(
            source.model_copy(update={"columns": {**columns, **(source.columns or {})}})
            for source in sources
        )

    return Domain(
        train=changed(domain.train), valid=changed(domain.valid), test=changed(domain.test)
    )


def _together(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))
