"""Fields that contradict each other: what no single field of a spec can know to be wrong.

Pure: no file is opened. Called by `inspect.validation` together with the schema (before) and the
data (after). Each check names the fields it rests on, so that it stays silent where the schema
already refused one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from orchestrator.errors import Problem
from orchestrator.specs import (
    batching_checks,
    classification_checks,
    data_checks,
    gate_checks,
    location_checks,
    method_checks,
    mixing_checks,
    runtime_checks,
    task_checks,
    tasks_checks,
    understanding_checks,
)
from orchestrator.specs.data import training_domains
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.location_checks import scheme_of
from orchestrator.specs.metrics import METRIC_NAMES, METRICS_TO_MINIMIZE
from orchestrator.specs.sizes import fewer_workers
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import CustomTask

Check = Callable[[FineTune], Iterator[Problem]]

MEAN = "mean"
"""The domain part of a selection metric that stands for all of `train_on`."""


def check_spec(spec: FineTune, *, doubtful: Collection[str] = ()) -> list[Problem]:
    """All contradictions of `spec`; paths without the leading `spec.`, no file or line.

    `doubtful` are fields the schema refused: checks that rest on one of them are left out.
    """
    problems: list[Problem] = []
    # What is wrong within one source leaves domains and splits as they are.
    doubts = [path for path in doubtful if not is_within_source(path)]
    is_custom = isinstance(spec.spec.task, CustomTask)
    for reads, check in CHECKS:
        if is_custom and check in DECIDED_BY_SCRIPTS:
            continue
        if not any(touches(field, doubt) for field in reads for doubt in doubts):
            problems.extend(check(spec))
    return problems


def is_within_source(path: str) -> bool:
    """Whether a path names one source of a split, or a field of it."""
    return re.match(r"data\.domains\..*\[\d+\]", path) is not None


def touches(field: str, other: str) -> bool:
    """Whether two paths name the same field, or one the field that holds the other."""
    short, long = sorted((field, other), key=len)
    return long == short or long.startswith((f"{short}.", f"{short}["))


def _model(spec: FineTune) -> Iterator[Problem]:
    if spec.spec.model is None and not isinstance(spec.spec.task, CustomTask):
        yield Problem("required", path="model", hint="write model: {base: hf://org/name}")


def _selection_domain(spec: FineTune) -> Iterator[Problem]:
    metric_path, data = spec.spec.selection.metric, spec.spec.data
    if metric_path is None or spec.spec.tasks is not None:
        return
    path = "selection.metric"
    domain, _, metric = metric_path.rpartition("/")
    if domain == MEAN:
        return
    if domain not in data.domains:
        near = closest(domain, [*data.domains, MEAN])
        known = ", ".join([*data.domains, MEAN])
        hint = f"write {near}/{metric}" if near else f"one of {known}"
        yield Problem(f"unknown domain '{domain}'", path=path, hint=hint)
    elif data.domains[domain].valid is None and domain not in training_domains(data):
        yield Problem(
            f"domain '{domain}' has no valid split, and selection never reads test",
            path=path,
            hint=f"add data.domains.{domain}.valid, or select by a domain of train_on",
        )


def _selection_mode(spec: FineTune) -> Iterator[Problem]:
    selection = spec.spec.selection
    metric = (selection.metric or "").rpartition("/")[2]
    if selection.mode is None and metric in (spec.spec.evaluation.custom_metrics or ()):
        yield Problem(
            f"nobody can know whether more of {metric} is better",
            path="selection.mode",
            hint="write mode: max or mode: min",
        )
    if selection.mode is None or metric not in METRIC_NAMES:
        return
    right = "min" if metric in METRICS_TO_MINIMIZE else "max"
    if selection.mode != right:
        better = "smaller" if right == "min" else "larger"
        yield Problem(
            f"{metric} is better the {better} it is, so the mode is {right}",
            path="selection.mode",
            hint=f"write mode: {right}, or remove it",
        )


def _selection_steps(spec: FineTune) -> Iterator[Problem]:
    every, total = spec.spec.selection.every_steps, spec.spec.training.max_steps
    if every is not None and total is not None and every > total:
        yield Problem(
            f"training ends after {total} steps (training.max_steps), before the first evaluation",
            path="selection.every_steps",
            hint=f"at most {total}",
        )


def _batch(spec: FineTune) -> Iterator[Problem]:
    rows, workers = spec.spec.training.global_batch_size, spec.spec.resources.workers
    micro = spec.spec.engine.micro_batch_size
    if rows % workers:
        yield Problem(
            f"{rows} rows a step cannot be divided among {workers} workers",
            path="training.global_batch_size",
            hint=_multiples(rows, workers),
        )
    elif micro is not None and rows % (workers * micro):
        fitting = [n for n in range(1, rows // workers + 1) if rows // workers % n == 0]
        nearest = min(fitting, key=lambda n: (abs(n - micro), n))
        yield Problem(
            f"{micro} rows on each of {workers} workers do not divide the global batch of {rows}",
            path="engine.micro_batch_size",
            hint=f"write {nearest}, or training.global_batch_size: "
            f"{_multiples(rows, workers * micro).removeprefix('write ')}",
        )


def _min_workers(spec: FineTune) -> Iterator[Problem]:
    resources, path = spec.spec.resources, "resources.min_workers"
    least, workers = resources.min_workers, resources.workers
    if least is None:
        return
    if least > workers:
        yield Problem(
            f"{least} workers at least are more than the {workers} of resources.workers",
            path=path,
            hint=f"write {workers} or less",
        )
    elif isinstance(spec.spec.task, CustomTask) and least < workers:
        yield Problem(
            "a custom task's checkpoints fit only the number of workers that saved them",
            path=path,
            hint="remove it",
        )
    elif least < workers and not fewer_workers(spec.spec):
        rows = spec.spec.training.global_batch_size
        most = max(n for n in range(1, least + 1) if rows % n == 0)
        yield Problem(
            f"no number from {least} to {workers - 1} divides the {rows} rows of a step",
            path=path,
            hint=f"write {most}",
        )


def _patience(spec: FineTune) -> Iterator[Problem]:
    resources = spec.spec.resources
    if resources.patience_seconds is not None and resources.min_workers is None:
        yield Problem(
            "there are no fewer workers to lose patience for",
            path="resources.patience_seconds",
            hint="remove it, or write resources.min_workers",
        )


def _continues(spec: FineTune) -> Iterator[Problem]:
    model = spec.spec.model
    if model is None or not model.optimizer:
        return
    message = None
    if scheme_of(model.base) not in ("models", "job"):
        message = f"{model.base} was not trained by a job, so there is no optimizer state"
    elif isinstance(spec.spec.task, CustomTask):
        message = "what a custom task's script makes of an optimizer is its own"
    if message is not None:
        yield Problem(
            message,
            path="model.optimizer",
            hint="remove it, or name a base with models://name@version or job://name",
        )


def _multiples(number: int, of: int) -> str:
    below = number // of * of
    return f"write {below} or {below + of}" if below else f"write {of}"


def _warmup(spec: FineTune) -> Iterator[Problem]:
    training = spec.spec.training
    warmup, total = training.warmup_steps, training.max_steps
    if warmup is not None and total is not None and warmup >= total:
        yield Problem(
            f"the warm-up would last all {total} steps of training.max_steps",
            path="training.warmup_steps",
            hint=f"less than {total}, e.g. {total // 10}",
        )


def _precision(spec: FineTune) -> Iterator[Problem]:
    precision = spec.spec.training.precision
    if precision in ("fp16", "tf32") and spec.spec.resources.gpus_per_worker == 0:
        yield Problem(
            f"{precision} needs GPUs, and resources.gpus_per_worker is 0",
            path="training.precision",
            hint="write fp32 or bf16, or give each worker a GPU",
        )


def _accelerator(spec: FineTune) -> Iterator[Problem]:
    resources = spec.spec.resources
    if resources.accelerator is not None and resources.gpus_per_worker == 0:
        yield Problem(
            f"a worker without a GPU cannot have an {resources.accelerator}",
            path="resources.accelerator",
            hint="write resources.gpus_per_worker: 1, or remove accelerator",
        )


def _ddp(spec: FineTune) -> Iterator[Problem]:
    engine = spec.spec.engine
    if engine.strategy != "ddp":
        return
    if engine.deepspeed is not None:
        yield Problem(
            "DeepSpeed's settings, and engine.strategy is ddp",
            path="engine.deepspeed",
            hint="remove them, or write engine.strategy: deepspeed",
        )
    given = {"zero_stage": engine.zero_stage or None, "offload": engine.offload}
    for name, value in given.items():
        if value not in (None, "none"):
            yield Problem(
                f"`{name}: {value}` is DeepSpeed's, and engine.strategy is ddp",
                path=f"engine.{name}",
                hint="remove it, or write engine.strategy: deepspeed",
            )


def _offload(spec: FineTune) -> Iterator[Problem]:
    engine = spec.spec.engine
    least = {"optimizer": 1, "parameters": 3}.get(engine.offload or "none", 0)
    if engine.strategy == "deepspeed" and (engine.zero_stage or 0) < least:
        if engine.zero_stage is None:
            return  # the plan will choose a stage that offers it
        stages = "3" if least == 3 else "1, 2 or 3"
        yield Problem(
            f"offloading {engine.offload} needs ZeRO stage {stages}, not {engine.zero_stage}",
            path="engine.offload",
            hint=f"write engine.zero_stage: {least}, or remove it and the plan chooses",
        )


def _of_stage_3(spec: FineTune) -> Iterator[Problem]:
    """Settings that a lower stage would silently ignore."""
    engine = spec.spec.engine
    zero = engine.deepspeed.zero_optimization if engine.deepspeed is not None else None
    if zero is None or engine.zero_stage in (None, 3) or engine.strategy == "ddp":
        return
    for name in sorted(zero.model_fields_set):
        if name.startswith("stage3_") or name in ("sub_group_size", "zero_hpz_partition_size"):
            yield Problem(
                f"ZeRO stage {engine.zero_stage} does not read it: it is of stage 3",
                path=f"engine.deepspeed.zero_optimization.{name}",
                hint="remove it, or write engine.zero_stage: 3",
            )


CHECKS: tuple[tuple[tuple[str, ...], Check], ...] = (
    *data_checks.CHECKS,
    *batching_checks.CHECKS,
    *location_checks.CHECKS,
    *runtime_checks.CHECKS,
    *task_checks.CHECKS,
    *tasks_checks.CHECKS,
    *classification_checks.CHECKS,
    *gate_checks.CHECKS,
    *method_checks.CHECKS,
    *understanding_checks.CHECKS,
    *mixing_checks.CHECKS,
    (("model", "task"), _model),
    (
        ("selection.metric", "data.domains", "data.train_on"),
        _selection_domain,
    ),
    (("selection.metric", "selection.mode", "evaluation.custom_metrics"), _selection_mode),
    (("selection.every_steps", "training.max_steps"), _selection_steps),
    (("training.global_batch_size", "resources.workers", "engine.micro_batch_size"), _batch),
    (("training.global_batch_size", "resources", "task"), _min_workers),
    (("model", "task"), _continues),
    (("resources.min_workers", "resources.patience_seconds"), _patience),
    (("training.warmup_steps", "training.max_steps"), _warmup),
    (("training.precision", "resources.gpus_per_worker"), _precision),
    (("resources.accelerator", "resources.gpus_per_worker"), _accelerator),
    (("engine",), _ddp),
    (("engine",), _of_stage_3),
    (("engine",), _offload),
)
"""The fields a check rests on, and the check."""

DECIDED_BY_SCRIPTS: frozenset[Check] = frozenset(
    {
        *data_checks.OF_ROWS,
        *task_checks.OF_TASKS,
        *(_selection_domain, _selection_mode, _selection_steps, _batch, _warmup),
    }
)
"""Checks of what a custom task's script reads, or leaves alone, as it likes."""
