"""Where an unfinished run goes on, and what of its engine must stay as it was.

Shards fit only the same number of workers and the same sharding, and the final weights are those of
an uninterrupted run only with the same micro batches. So what the spec leaves to the plan is pinned
to what the run began with, and what the spec demands otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import InvalidInput, Problem
from orchestrator.records import CheckpointRef
from orchestrator.specs import EngineSpec, FineTuneSpec
from orchestrator.storage.checkpoints import Checkpoint

RECORDED_ENGINE = ("zero_stage", "micro_batch_size", "gradient_checkpointing", "offload")


def pinned_engine(engine: EngineSpec, began_with: Mapping[str, Any]) -> dict[str, Any]:
    """What the spec leaves open and the run has decided before, by field of `engine`."""
    return {
        name: began_with[name]
        for name in RECORDED_ENGINE
        if getattr(engine, name) is None and began_with.get(name) is not None
    }


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
    asked = {
        "world_size": ("resources.workers", spec.resources.workers),
        "strategy": ("engine.strategy", spec.engine.strategy),
        "zero_stage": ("engine.zero_stage", spec.engine.zero_stage),
    }
    if spec.engine.strategy != "deepspeed":
        del asked["zero_stage"]  # nothing is sharded
    return [
        Problem(
            f"this run was begun with {saved[name]} and can only go on so, not with {value}",
            path=path,
            hint=f"write {saved[name]}, or begin anew with --new",
        )
        for name, (path, value) in asked.items()
        if saved.get(name) is not None and saved[name] != value
    ]
