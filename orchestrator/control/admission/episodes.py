"""What meta-learning adds to a plan: the copy that episodes are learned on, and their rows.

Called by `plan` and `duration`. Counts are those of domains that have every class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.control.admission.exchange import update_bytes
from orchestrator.control.admission.memory import FP32, MemoryCase
from orchestrator.control.admission.throughput import Speed
from orchestrator.inspect.data import DataFacts
from orchestrator.specs import AdaptationSpec, FineTuneSpec, MetaMethod, TextClassification
from orchestrator.specs.adaptation import adaptation_domains
from orchestrator.specs.method import InnerOptimizer

_MOMENTS: dict[InnerOptimizer, int] = {"adam": 2, "sgd": 0}
_COPY = 2  # reads and writes each weight when an episode begins, and again when it ends


def learner_bytes(method: object) -> int:
    """Of a parameter: the fp32 copy that episodes are learned on, its gradient and its moments."""
    if not isinstance(method, MetaMethod):
        return 0
    return FP32 * (2 + _MOMENTS[method.inner_optimizer])


def batch_rows(spec: FineTuneSpec) -> int:
    """Rows that all workers cut into micro-batches: of episodes each has a batch of its own."""
    is_meta = isinstance(spec.method, MetaMethod)
    return spec.training.global_batch_size * (spec.resources.workers if is_meta else 1)


@dataclass(frozen=True, slots=True)
class EpisodeWork:
    """One outer step."""

    rows: int  # that gradients are taken of, over all workers
    episodes: int  # of a worker
    micro_batches: int  # of a worker
    updates: int  # inner steps of a worker
    optimizer: InnerOptimizer


def episode_work(spec: FineTuneSpec, micro_batch_size: int) -> EpisodeWork | None:
    """Of a resolved spec; None where rows are learned from one by one."""
    method, task = spec.method, spec.task
    if not isinstance(method, MetaMethod):
        return None
    assert isinstance(task, TextClassification), "`validate` refuses others"
    classes = len(task.labels or ())
    inner = min(spec.training.global_batch_size, classes * method.shots)
    outer = classes * method.query_of_each
    episodes = method.episodes_per_step // spec.resources.workers
    pieces = method.inner_steps * _pieces(inner, micro_batch_size) + _pieces(
        outer, micro_batch_size
    )
    return EpisodeWork(
        rows=method.episodes_per_step * (method.inner_steps * inner + outer),
        episodes=episodes,
        micro_batches=episodes * pieces,
        updates=episodes * method.inner_steps,
        optimizer=method.inner_optimizer,
    )


def inner_update_seconds(case: MemoryCase, work: EpisodeWork, speed: Speed) -> float:
    """The learner's optimizer in every inner step, and the copy in every episode."""
    parameters = case.model.trainable_parameters
    steps = work.updates * update_bytes(_MOMENTS[work.optimizer])
    copies = work.episodes * 2 * _COPY * FP32
    return parameters * (steps + copies) / speed.memory_bytes


@dataclass(frozen=True, slots=True)
class AdaptationWork:
    """What the curves of a resolved spec compute, over all workers."""

    gradient_rows: int
    updates: int  # of the learner's optimizer
    joint_updates: int  # of the joint training's AdamW
    optimizer: InnerOptimizer
    tested: int  # passes over the test splits of all held-out domains


def adaptation_work(spec: FineTuneSpec, num_domains: int, outer_steps: int) -> AdaptationWork:
    """How often is learned and measured; `num_domains` are held out."""
    how, task = spec.evaluation.adaptation, spec.task
    assert how is not None
    assert isinstance(task, TextClassification), "`validate` refuses others"
    batch = how.batch_size or spec.training.global_batch_size
    classes = len(task.labels or ())
    rows = [min(batch, classes * shots) for shots in how.shots if shots]
    starts = 1 + len(how.compare_with)
    joint = of_joint = 0
    if "joint" in how.compare_with:
        assert isinstance(spec.method, MetaMethod), "`validate` refuses others"
        joint = joint_steps(how, spec.method, outer_steps)
        of_joint = min(spec.training.global_batch_size, classes * spec.method.shots)
    adapted = starts * how.seeds
    # Without shots one pass tells all, unless the head is a new one for each seed.
    at_zero = starts + (how.seeds - 1) * ("plain" in how.compare_with)
    return AdaptationWork(
        gradient_rows=adapted * num_domains * how.steps * sum(rows) + joint * of_joint,
        updates=adapted * num_domains * how.steps * len(rows),
        joint_updates=joint * spec.resources.workers,
        optimizer=how.optimizer,
        tested=adapted * len(rows) + at_zero * (0 in how.shots),
    )


def updating_seconds(case: MemoryCase, work: AdaptationWork, speed: Speed) -> float:
    """Of all updates, by one worker."""
    steps = work.updates * update_bytes(_MOMENTS[work.optimizer])
    joint = work.joint_updates * update_bytes(_MOMENTS["adam"])
    return case.model.trainable_parameters * (steps + joint) / speed.memory_bytes


def lent(data: DataFacts, spec: FineTuneSpec) -> dict[str, int]:
    """Fields of `Work`: held-out domains that are adapted to, and the rows measured on."""
    how = spec.evaluation.adaptation
    if how is None:
        return {}
    names = adaptation_domains(how, spec.data)
    rows = [
        min(facts.num_rows, how.max_test_rows or facts.num_rows)
        for (name, split), facts in data.splits.items()
        if split == "test" and name in names
    ]
    return {"lent_domains": len(names), "lent_test_rows": sum(rows)}


def joint_steps(how: AdaptationSpec, method: MetaMethod, outer_steps: int) -> int:
    """Gradient steps of the joint initialisation."""
    given = how.joint.steps if how.joint is not None else None
    return given or method.gradient_steps(outer_steps)


def _pieces(rows: int, micro_batch_size: int) -> int:
    return math.ceil(rows / micro_batch_size)
