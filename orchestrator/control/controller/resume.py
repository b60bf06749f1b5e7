"""Where an unfinished run goes on, and what of its engine must stay as it was.

The final weights are those of an uninterrupted run only with the same workers, sharding and micro
batches. So what the spec leaves to the plan is pinned to what the run began with. A spec that says
otherwise is followed: workers convert what another gang or another ZeRO stage saved
(`worker.training.universal`). What cannot be converted is refused here, before a gang waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import InvalidInput, Problem
from orchestrator.records import CheckpointRef
from orchestrator.specs import CustomTask, EngineSpec, FineTuneSpec
from orchestrator.storage.checkpoints import Checkpoint

HALF_WIDTH = ("bf16", "fp16")
RECORDED_ENGINE = ("zero_stage", "micro_batch_size", "gradient_checkpointing", "offload")

SHARDED_BY = ("zero_stage",)
"""Of the engine what stays where the workers change: the rest is chosen for them anew."""


def pinned_engine(engine: EngineSpec, began_with: Mapping[str, Any]) -> dict[str, Any]:
    """What the spec leaves open and the run has decided before, by field of `engine`."""
    return {
        name: began_with[name]
        for name in RECORDED_ENGINE
        if getattr(engine, name) is None and began_with.get(name) is not None
    }


def begun_engine(attempt: Mapping[str, Any], spec: FineTuneSpec) -> dict[str, Any]:
    """Of an Attempt's record what of its engine is kept by an Attempt with this spec."""
    engine: dict[str, Any] = attempt.get("engine") or {}
    is_resized = attempt.get("workers") not in (None, spec.resources.workers)
    return {name: engine.get(name) for name in (SHARDED_BY if is_resized else RECORDED_ENGINE)}


def resume_points(
    spec: FineTuneSpec, candidates: Sequence[Checkpoint]
) -> tuple[CheckpointRef, ...]:
    """The checkpoints this spec can go on from, best first.

    Raises InvalidInput, at the fields to change, where the best one does not fit.
    """
    if not candidates:
        return ()
    problems = _misfits(spec, candidates[0])
    if problems:
        raise InvalidInput(problems)
    return tuple(c.ref for c in candidates if not _misfits(spec, c))


def _misfits(spec: FineTuneSpec, checkpoint: Checkpoint) -> list[Problem]:
    saved = {**checkpoint.manifest.metadata, "world_size": checkpoint.ref.world_size}
    asked: dict[str, tuple[str, Any]] = {"strategy": ("engine.strategy", spec.engine.strategy)}
    if isinstance(spec.task, CustomTask):  # what its ranks have saved, the script alone can read
        asked["world_size"] = ("resources.workers", spec.resources.workers)
    if _has_two_forms(spec, saved):
        asked["zero_stage"] = ("engine.zero_stage", spec.engine.zero_stage)
    return [
        Problem(
            f"this run was begun with {saved[name]} and can only go on so, not with {value}",
            path=path,
            hint=f"write {saved[name]}, or begin anew with --new",
        )
        for name, (path, value) in asked.items()
        if saved.get(name) is not None and saved[name] != value
    ]


def _has_two_forms(spec: FineTuneSpec, saved: Mapping[str, Any]) -> bool:
    """Without ZeRO, weights of half precision have their fp32 copy in another engine's form."""
    return (
        spec.engine.strategy == "deepspeed"
        and spec.training.precision in HALF_WIDTH
        and 0 in (saved.get("zero_stage"), spec.engine.zero_stage)
    )
