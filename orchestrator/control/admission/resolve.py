"""The spec with nothing left open but the engine: what `plan` estimates and a worker obeys.

Defaults that change what is learned are part of the run's identity, so they are written out here
and never left to the worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.control.admission.duration import EVERY_MINUTES
from orchestrator.control.admission.memory import MemoryCase
from orchestrator.specs import FineTune, ModelSpec
from orchestrator.specs.data import training_domains
from orchestrator.specs.paths import with_absolute_paths
from orchestrator.specs.training import METRICS_TO_MINIMIZE

DEFAULT_EPOCHS = 3.0
DEFAULT_WARMUP_RATIO = 0.06  # Liu et al. 2019 (RoBERTa), table 10: of all steps, for GLUE
DEFAULT_SELECTION = {"text-classification": "mean/macro_f1"}
DEFAULT_METRICS = {"text-classification": ("accuracy", "macro_f1", "weighted_f1")}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a spec is resolved against."""

    base_dir: Path  # of the spec's file: relative paths start there
    default_store: str  # the setting's
    labels: tuple[str, ...]  # of the training data, or the task's own
    model: ModelSpec | None  # the base, pinned


def resolve_spec(spec: FineTune, around: Surroundings) -> FineTune:
    """Everything but `engine` written out; local paths are absolute."""
    document = _placed(spec, around)
    body = document["spec"]
    body["task"]["labels"] = list(around.labels)
    body["data"]["train_on"] = list(training_domains(spec.spec.data))
    training, checkpoint = body["training"], body["checkpoint"]
    if "max_steps" not in training:
        training.setdefault("epochs", DEFAULT_EPOCHS)
    if "warmup_steps" not in training:
        training.setdefault("warmup_ratio", DEFAULT_WARMUP_RATIO)
    if "every_steps" not in checkpoint:
        checkpoint.setdefault("every_minutes", EVERY_MINUTES)
    _resolve_selection(body)
    metrics = list(DEFAULT_METRICS[spec.spec.task.type])
    body["evaluation"].setdefault("metrics", metrics)
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
        body["model"] = around.model.model_dump(mode="json", exclude_none=True)
    body["output"].setdefault("store", around.default_store)
    body["output"].setdefault("name", spec.metadata.name)
    return document


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


def _resolve_selection(body: dict[str, Any]) -> None:
    """How the published weights are picked; with `last` it is only watched."""
    selection = body["selection"]
    metric = selection.setdefault("metric", DEFAULT_SELECTION[body["task"]["type"]])
    name = metric.rpartition("/")[2]
    selection.setdefault("mode", "min" if name in METRICS_TO_MINIMIZE else "max")
