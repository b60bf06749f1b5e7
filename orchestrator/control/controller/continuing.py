"""A new job that goes on from another one's newest checkpoint: `model.optimizer`.

Called by `look`, so that people hear at once, and by `acts` for the Attempt, when the job that
makes the base has ended for certain. Moments fit weights of the same names and shapes alone, so
what decides these must be alike in both specs; a worker compares the names themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from orchestrator.control.controller.resume import HALF_WIDTH
from orchestrator.errors import InvalidInput, ObjectNotFound, Problem
from orchestrator.records import ContinuedRef, Launch
from orchestrator.specs import FineTuneSpec, TextClassification
from orchestrator.storage.checkpoints import Checkpoint, CheckpointStore
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.registry import ModelRegistry

PATH = "model.optimizer"
SHAPELESS = frozenset({"alpha", "dropout", "merge"})
"""Of a method what changes no shape."""


def continued(spec: FineTuneSpec, store: ObjectStore) -> ContinuedRef | None:
    """The checkpoint whose moments a resolved spec begins with; None where it asks for none.

    Raises InvalidInput, with the reason, where there is none or it does not fit.
    """
    if spec.model is None or not spec.model.optimizer:
        return None
    job = _maker(spec.model.base, store)
    checkpoints = CheckpointStore(store, job)
    found = checkpoints.resume_point()
    if found is None:
        raise _refused(f"{job}, which made the base, has no checkpoint left")
    problems = list(_differences(spec, _spec_of(checkpoints, found, job), found, job))
    if problems:
        raise InvalidInput(problems)
    return ContinuedRef(job=job, **found.ref.model_dump())


def _maker(base: str, store: ObjectStore) -> str:
    scheme, _, rest = base.partition("://")
    if scheme == "job":
        return rest
    return ModelRegistry(store).resolve(rest).run


def _spec_of(checkpoints: CheckpointStore, found: Checkpoint, job: str) -> FineTuneSpec:
    try:
        return Launch.model_validate_json(checkpoints.launch(found.attempt)).spec.spec
    except (ObjectNotFound, ValidationError):
        raise _refused(f"how {job} was trained is not in the store any more") from None


def _differences(
    spec: FineTuneSpec, before: FineTuneSpec, found: Checkpoint, job: str
) -> Iterator[Problem]:
    compared: dict[str, tuple[Any, Any]] = {
        "method": (_shaping(spec), _shaping(before)),
        "engine.strategy": (spec.engine.strategy, before.engine.strategy),
        "training.precision": (spec.training.precision, before.training.precision),
        "task.type": (spec.task.type, before.task.type),
    }
    if isinstance(spec.task, TextClassification) and isinstance(before.task, TextClassification):
        compared["task.labels"] = (spec.task.labels, before.task.labels)
    for path, (mine, its) in compared.items():
        if mine != its:
            yield Problem(
                f"the optimizer state of {job} fits the parameters it trained: {path} was "
                f"{_told(its, mine)}, not {_told(mine, its)}",
                path=path,
                hint="write the same, or remove model.optimizer to begin with new moments",
            )
    stages = (found.manifest.metadata.get("zero_stage"), spec.engine.zero_stage)
    if spec.training.precision in HALF_WIDTH and 0 in stages:
        yield Problem(
            f"{spec.training.precision} without ZeRO keeps its state in a form that no new job "
            "can begin with",
            path="engine.zero_stage",
            hint="remove model.optimizer to begin with new moments",
        )


def _shaping(spec: FineTuneSpec) -> dict[str, Any]:
    return spec.method.model_dump(mode="json", exclude_none=True, exclude=set(SHAPELESS))


def _told(value: Any, other: Any) -> str:
    """Of two methods what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        mine = {name: item for name, item in value.items() if other.get(name) != item}
        return ", ".join(f"{name} {item}" for name, item in mine.items()) or "without that"
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)


def _refused(message: str) -> InvalidInput:
    hint = "remove model.optimizer to begin with the base's weights and new moments"
    return InvalidInput([Problem(message, path=PATH, hint=hint)])
