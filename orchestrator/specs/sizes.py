"""With how many workers a job may train, and what its engine becomes then. Pure.

Called by admission, which plans both ends, and by the controller, which launches an Attempt of the
size that the scheduler found room for. The global batch stays what it is: only how it is cut
changes, so the same is learned.
"""

from __future__ import annotations

from orchestrator.specs.finetune import FineTune, FineTuneSpec

PATIENCE_SECONDS = 300.0


def fewer_workers(spec: FineTuneSpec) -> tuple[int, ...]:
    """Numbers below `workers` that divide the global batch, not below `min_workers`."""
    resources = spec.resources
    least = resources.min_workers or resources.workers
    rows = spec.training.global_batch_size
    sizes = range(resources.workers - 1, least - 1, -1)
    return tuple(workers for workers in sizes if rows % workers == 0)


def fitting_micro_batch(rows: int, limit: int) -> int:
    """The largest micro batch of at most `limit` rows that divides a worker's rows of a step."""
    return next(size for size in range(min(limit, rows), 0, -1) if rows % size == 0)


def with_workers(spec: FineTune, workers: int) -> FineTune:
    """A resolved spec for a gang of this size."""
    body = spec.spec
    if workers == body.resources.workers:
        return spec
    engine, micro = body.engine, body.engine.micro_batch_size
    if micro is not None:
        rows = body.training.global_batch_size // workers
        engine = engine.model_copy(update={"micro_batch_size": fitting_micro_batch(rows, micro)})
    resources = body.resources.model_copy(update={"workers": workers})
    changed = body.model_copy(update={"engine": engine, "resources": resources})
    return spec.model_copy(update={"spec": changed})
