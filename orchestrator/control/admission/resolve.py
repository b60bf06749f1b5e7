"""The spec with nothing left open but the engine: what `plan` estimates and a worker obeys.

Defaults that change what is learned are part of the run's identity, so they are written out here
and never left to the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.control.admission.adapters import resolved_method
from orchestrator.control.admission.duration import EVERY_MINUTES
from orchestrator.control.admission.memory import MemoryCase
from orchestrator.inspect.architectures import NUMBERED_SPANS
from orchestrator.inspect.mixing import balanced_weights
from orchestrator.inspect.model import ModelFacts
from orchestrator.specs import Denoising, FineTune, ModelSpec, TaskSpec
from orchestrator.specs.data import training_domains
from orchestrator.specs.metrics import METRICS_TO_MINIMIZE, TaskMetrics
from orchestrator.specs.paths import with_absolute_paths
from orchestrator.specs.task import TextClassification
from orchestrator.specs.task_checks import target_length
from orchestrator.specs.task_views import metrics_of_job, predicts_tokens

DEFAULT_EPOCHS = 3.0
DEFAULT_WARMUP_RATIO = 0.06  # Liu et al. 2019 (RoBERTa), table 10: of all steps, for GLUE
DEFAULT_EVALUATION_ROWS = 64
DEFAULT_LANGUAGE_ROWS = 8  # each gives logits of a whole vocabulary for every token
HIDDEN_SHARES = {"spans": 0.15, "infill": 0.3}  # Raffel et al. 2020; Lewis et al. 2020


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a spec is resolved against."""

    base_dir: Path  # of the spec's file: relative paths start there
    default_store: str  # the setting's
    labels: tuple[str, ...]  # of the training data, or the task's own
    model: ModelSpec | None  # the base, pinned
    drawn_labels: Mapping[str, float] = field(default_factory=dict)  # how often an epoch does so
    tasks: Mapping[str, Surroundings] = field(default_factory=dict)  # of each of several tasks


def resolve_spec(spec: FineTune, around: Surroundings) -> FineTune:
    """Everything but `method` and `engine` written out; local paths are absolute."""
    document = _placed(spec, around)
    body = document["spec"]
    if isinstance(spec.spec.task, TextClassification) and around.labels:
        _resolve_classes(body["task"], around)
    for name, entry in (spec.spec.tasks or {}).items():
        if isinstance(entry, TextClassification):
            _resolve_classes(body["tasks"][name], around.tasks[name])
    body["data"]["train_on"] = list(training_domains(spec.spec.data))
    training, checkpoint = body["training"], body["checkpoint"]
    if "max_steps" not in training:
        training.setdefault("epochs", DEFAULT_EPOCHS)
    if "warmup_steps" not in training:
        training.setdefault("warmup_ratio", DEFAULT_WARMUP_RATIO)
    if "every_steps" not in checkpoint:
        checkpoint.setdefault("every_minutes", EVERY_MINUTES)
    metrics = metrics_of_job(spec.spec)
    _resolve_selection(body, metrics)
    evaluation = body["evaluation"]
    evaluation.setdefault("metrics", list(metrics.shown))
    is_language = predicts_tokens(spec.spec)
    rows = DEFAULT_LANGUAGE_ROWS if is_language else DEFAULT_EVALUATION_ROWS
    evaluation.setdefault("batch_size", rows)
    target = target_length(spec.spec)
    if target is not None:
        training.setdefault("max_target_length", target)
        evaluation.setdefault("generation", {}).setdefault("max_new_tokens", target)
    return FineTune.model_validate(document)


def resolve_script(spec: FineTune, around: Surroundings) -> FineTune:
    """A custom task's spec: where things lie. What its script reads stays as it was written."""
    return FineTune.model_validate(_placed(spec, around))


def _placed(spec: FineTune, around: Surroundings) -> dict[str, Any]:
    """The document with absolute paths, the pinned base, the store and the model's name."""
    written = with_absolute_paths(spec, around.base_dir)
    document: dict[str, Any] = written.model_dump(mode="json", exclude_none=True)
    body = document["spec"]
    if around.model is not None:
        written_model = spec.spec.model
        optimizer = written_model is not None and written_model.optimizer
        pinned = around.model.model_dump(mode="json", exclude_none=True)
        body["model"] = {**pinned, "optimizer": optimizer}
    body["output"].setdefault("store", around.default_store)
    body["output"].setdefault("name", spec.metadata.name)
    return document


def with_method(spec: FineTune, facts: ModelFacts) -> FineTune:
    """A resolved spec with what its method and task leave open, chosen for this base."""
    chosen = {
        "method": resolved_method(spec.spec.method, facts),
        "task": _resolved_task(spec.spec.task, facts),
    }
    return spec.model_copy(update={"spec": spec.spec.model_copy(update=chosen)})


def _resolved_task(task: TaskSpec, facts: ModelFacts) -> TaskSpec:
    """What is hidden of a text, as the base was pretrained."""
    if not isinstance(task, Denoising):
        return task
    objective = task.objective or ("spans" if facts.model_type in NUMBERED_SPANS else "infill")
    share = task.masked_share or HIDDEN_SHARES[objective]
    return task.model_copy(update={"objective": objective, "masked_share": share})


def with_engine(spec: FineTune, case: MemoryCase) -> FineTune:
    """A resolved spec with the engine that was chosen."""
    engine = spec.spec.engine.model_copy(
        update={
            "zero_stage": case.zero_stage,
            "micro_batch_size": case.micro_batch_size,
            "gradient_checkpointing": case.checkpointing,
            "offload": case.offload,
        }
    )
    return spec.model_copy(update={"spec": spec.spec.model_copy(update={"engine": engine})})


def _resolve_classes(task: dict[str, Any], around: Surroundings) -> None:
    task["labels"] = list(around.labels)
    weights = task.get("class_weights")
    if weights is not None and weights["balanced"]:
        found = balanced_weights(around.labels, around.drawn_labels)
        task["class_weights"] = {"weights": found}


def _resolve_selection(body: dict[str, Any], metrics: TaskMetrics) -> None:
    """How the published weights are picked; with `last` it is only watched."""
    selection = body["selection"]
    metric = selection.setdefault("metric", metrics.selection)
    name = metric.rpartition("/")[2]
    selection.setdefault("mode", "min" if name in METRICS_TO_MINIMIZE else "max")
