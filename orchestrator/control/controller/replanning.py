"""A job that has begun, planned again for another engine or other resources. Called by `verbs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.control.controller.creation import demand_of_plan
from orchestrator.control.controller.resume import (
    RECORDED_ENGINE,
    SHARDED_BY,
    pinned_engine,
    resume_points,
)
from orchestrator.control.controller.submission import (
    STORE_SECONDS,
    Ground,
    Submission,
    looked_at,
    refuse_misfit,
)
from orchestrator.errors import Conflict, InvalidInput, Problem
from orchestrator.records import Job, JobDocuments
from orchestrator.specs.overrides import FILE
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store

RESUMABLE = ("engine.", "resources.")
"""What a resumed job may change: never what is learned."""


@dataclass(frozen=True, slots=True)
class Replanned:
    """What becomes of the job that was seen with `version`."""

    version: int
    updates: Mapping[str, Any]
    documents: JobDocuments


def check_resumable(sets: Sequence[str]) -> None:
    """Raises InvalidInput for overrides that change more than engine and resources."""
    problems = [
        Problem(
            "a job that has begun keeps what it learns",
            path=path,
            hint="resume changes fields of engine and resources; submit a new job for others",
            file=FILE,
        )
        for path in map(_path, sets)
        if not path.startswith(RESUMABLE)
    ]
    if problems:
        raise InvalidInput(problems)


def replan(job: Job, documents: JobDocuments, sets: Sequence[str], ground: Ground) -> Replanned:
    """The job with `sets` on top of those it was submitted with.

    Raises:
        InvalidInput: They are wrong, or do not fit what was saved.
        PlanRefused: It cannot work so.
        Conflict: It would no longer be the same run.
    """
    all_sets = (*documents.sets, *sets)
    looked = looked_at(job.team, Submission(documents.written, all_sets), ground)
    # What was chosen for it stays, where neither the spec nor `sets` say otherwise.
    began_with = {**documents.spec.spec.engine.model_dump(), **job.engine}
    is_resized = any(_path(text).startswith("resources.") for text in sets)
    kept = {name: began_with[name] for name in (SHARDED_BY if is_resized else RECORDED_ENGINE)}
    looked = looked.with_engine(pinned_engine(looked.loaded.spec.spec.engine, kept))
    refuse_misfit(looked.plan, runs_here=ground.runs_here)
    if looked.plan.identity.run != job.identity:
        raise Conflict(
            f"the data or the base of {job.id} have changed since it began",
            hint="submit it as a new job",
        )
    store = open_store(job.store, retry_seconds=STORE_SECONDS)
    resume_points(looked.plan.spec.spec, CheckpointStore(store, job.id).candidates())
    updates: dict[str, Any] = {
        "demand": demand_of_plan(looked.plan),
        "estimated_seconds": looked.plan.time.total_seconds if looked.plan.time else None,
        "engine": {},  # what a retry changed is in the spec now
    }
    replaced = documents.model_copy(
        update={
            "sets": all_sets,
            "spec": looked.plan.spec,
            "plan": looked.plan.model_dump(mode="json", exclude={"spec", "identity"}),
        }
    )
    return Replanned(job.version, updates, replaced)


def _path(override: str) -> str:
    """`spec.engine.offload=none` -> `engine.offload`."""
    return override.partition("=")[0].strip().removeprefix("spec.")
