"""What follows when an Attempt fails, by cause: the table of docs/recovery.md. Pure.

Called by `lifecycle`. Only the controller retries: Ray's own retries are off, so that every launch
is an Attempt that people can see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.control.controller.resume import HALF_WIDTH
from orchestrator.records import Job, Reason
from orchestrator.specs import FineTuneSpec, QloraMethod
from orchestrator.specs.sizes import fitting_micro_batch

NODE_FAILURES_TO_AVOID = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """How one cause of failure is met."""

    retries: int | None  # further Attempts after the first failure of this cause; None: no end
    remedy: str  # what the next Attempt does, for people


RULES: Mapping[Reason, Rule] = {
    Reason.USER_ERROR: Rule(0, "the spec or its data must change first"),
    Reason.DIVERGED: Rule(0, "the same steps would diverge again: lower training.learning_rate"),
    Reason.NO_METRIC: Rule(0, "the script must report what selection.metric names"),
    Reason.STORE_DENIED: Rule(0, "the credentials of the store must change first"),
    Reason.DISK_FULL: Rule(0, "free some space first"),
    Reason.VERSION_MISMATCH: Rule(0, "the cluster needs the server's version of the package"),
    Reason.OUT_OF_MEMORY: Rule(12, "a smaller micro batch, then recomputing, sharding, offloading"),
    Reason.WORKER_LOST: Rule(5, "goes on from the newest complete checkpoint"),
    Reason.NODE_LOST: Rule(10, "goes on from the newest complete checkpoint, on other nodes"),
    Reason.HANG: Rule(3, "stacks are kept; goes on from the newest complete checkpoint"),
    Reason.STORE_UNAVAILABLE: Rule(None, "waits for the store, then goes on"),
    Reason.LAUNCH_FAILED: Rule(3, "launched again"),
    Reason.NO_OUTCOME: Rule(2, "goes on from the newest complete checkpoint"),
    Reason.UNKNOWN: Rule(2, "goes on from the newest complete checkpoint"),
    Reason.INTERRUPTED: Rule(5, "stopped from outside; goes on from the newest checkpoint"),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's numbers; times in seconds."""

    first_backoff_seconds: float = 5.0
    max_backoff_seconds: float = 300.0
    jitter: float = 0.25  # share of a backoff that is spread, so that herds part
    hang_seconds: float = 1800.0  # where the spec says nothing
    stacks_seconds: float = 20.0  # for a hanging gang to leave its stacks before it is stopped
    save_seconds: float = 600.0  # for a stopping gang to save
    stop_again_seconds: float = 30.0  # a stop that was not obeyed is repeated
    look_seconds: float = 1.0
    first_look_seconds: float = 0.15  # between looks at what was launched just now
    unreachable_seconds: float = 1800.0  # a backend away and no Reports for so long: lost
    rules: Mapping[Reason, Rule] = field(default_factory=lambda: RULES)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job has failed."""

    message: str


@dataclass(frozen=True, slots=True)
class Again:
    """Another Attempt, not before a time, perhaps with another engine."""

    not_before: float
    message: str
    engine: Mapping[str, Any]


def after_failure(
    job: Job, reason: Reason, rung: Mapping[str, Any] | None, now: float, policy: Policy
) -> GiveUp | Again:
    """Whether a failed Attempt is followed by another one.

    Args:
        job: As it was before this failure.
        reason: Why the Attempt failed.
        rung: The next rung of the memory ladder; None where there is none.
        now: Seconds since the epoch.
        policy: The operator's numbers.
    """
    rule = policy.rules.get(reason, policy.rules[Reason.UNKNOWN])
    earlier = job.failures.get(reason, 0)
    if rule.retries == 0:
        return GiveUp(rule.remedy)
    if rule.retries is not None and earlier >= rule.retries:
        return GiveUp(f"it failed so {earlier + 1} times")
    if reason is Reason.OUT_OF_MEMORY and rung is None:
        return GiveUp("nothing is left that would need less memory")
    wait = backoff_seconds(job.id, job.attempt, earlier, policy)
    counted = "" if rule.retries is None else f" (retry {earlier + 1} of {rule.retries})"
    changed = ", ".join(f"engine.{name}={value}" for name, value in (rung or {}).items())
    is_memory = reason is Reason.OUT_OF_MEMORY
    remedy = f"next with {changed}" if is_memory else rule.remedy
    return Again(now + wait, f"{remedy}{counted}", (rung or {}) if is_memory else {})


def backoff_seconds(job: str, attempt: int, earlier: int, policy: Policy) -> float:
    """Doubles with each failure; its jitter follows from the ids, so that a replay agrees."""
    base = min(policy.max_backoff_seconds, policy.first_backoff_seconds * 2.0**earlier)
    digest = hashlib.sha256(f"{job}/{attempt}".encode()).digest()
    spread = int.from_bytes(digest[:4]) / 2**32  # uniform in [0, 1)
    return base * (1 - policy.jitter + 2 * policy.jitter * spread)


def next_rung(spec: FineTuneSpec) -> dict[str, Any] | None:
    """The next step down in memory: what is learned stays the same, only its speed changes.

    1. Halve the micro batch; accumulation keeps the global batch.
    2. Recompute activations.
    3. Shard one thing more over the workers: the next ZeRO stage.
    4. Keep the optimizer in host memory (DeepSpeed on GPUs).
    """
    engine = spec.engine
    micro = engine.micro_batch_size
    if micro is None:
        return None  # of a script, which alone knows what would need less
    if micro > 1:
        return {"micro_batch_size": fitting_micro_batch(_rows_of_worker(spec), micro // 2)}
    if not engine.gradient_checkpointing:
        return {"gradient_checkpointing": True}
    if engine.strategy != "deepspeed":
        return None
    if (stage := _next_stage(spec)) is not None:
        return {"zero_stage": stage}
    if spec.resources.gpus_per_worker > 0 and engine.offload in (None, "none"):
        return {"offload": "optimizer"}
    return None


def _next_stage(spec: FineTuneSpec) -> int | None:
    """The ZeRO stage above the job's that can go on from what was saved; see `resume`."""
    stage = spec.engine.zero_stage
    highest = 2 if isinstance(spec.method, QloraMethod) else 3  # 4-bit weights cannot be sharded
    if stage is None or stage >= highest or spec.resources.workers == 1:
        return None
    if stage == 0 and spec.training.precision in HALF_WIDTH:
        return None
    return stage + 1


def nodes_to_avoid(job: Job) -> frozenset[str]:
    """Nodes that failed this job more than once."""
    return frozenset(
        node for node, count in job.node_failures.items() if count >= NODE_FAILURES_TO_AVOID
    )


def _rows_of_worker(spec: FineTuneSpec) -> int:
    return spec.training.global_batch_size // spec.resources.workers
