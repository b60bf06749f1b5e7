"""The joint initialisation that k-shot curves compare with: ordinary fine-tuning on all training
domains at once, with as many gradient steps as meta-learning takes.

One rank trains it alone, since batches as small as an episode's are not worth dividing; what is
kept is the best by the job's own selection on valid, as of the published weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, get_scheduler

from orchestrator.specs import AdaptationSpec, FineTuneSpec, MetaMethod
from orchestrator.specs.adaptation import JointSpec
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.orders import Shuffled
from orchestrator.worker.data.splits import Splits
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.models.learner import Learner
from orchestrator.worker.training.arguments import SCHEDULERS, warmup_steps
from orchestrator.worker.training.selection import domains_to_evaluate, selected_value

EVALUATIONS = 10  # over the whole training, at most


@dataclass(frozen=True, slots=True)
class JointStart:
    """The weights, in the order of the model's parameters, and where they were the best."""

    weights: list[torch.Tensor]
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JointPlan:
    """How it is trained."""

    steps: int
    learning_rate: float
    batch_size: int


def joint_plan(spec: FineTuneSpec, how: AdaptationSpec, outer_steps: int) -> JointPlan:
    """Of a resolved spec: batches as large as those of an inner step."""
    given, method = how.joint or JointSpec(), spec.method
    assert isinstance(method, MetaMethod), "`validate` refuses others"
    labels: Sequence[str] = getattr(spec.task, "labels", None) or ()
    return JointPlan(
        steps=given.steps or method.gradient_steps(outer_steps),
        learning_rate=given.learning_rate,
        batch_size=min(spec.training.global_batch_size, len(labels) * method.shots),
    )


def train_jointly(
    plan: JointPlan,
    spec: FineTuneSpec,
    learner: Learner,
    splits: Splits,
    evaluation: EvaluationPass,
    should_stop: Callable[[], bool],
) -> JointStart | None:
    """Trains the learner's model from where it stands; None where it was to stop.

    Args:
        plan: Steps, rate and batches.
        spec: The job's; schedule, decay, clipping and selection are taken from it.
        learner: Of the base with its new head.
        splits: What is learned and decided by.
        evaluation: The task's pass.
        should_stop: Asked after each step.
    """
    optimizer = _optimizer(learner.model, plan, spec)
    scheduler = get_scheduler(
        SCHEDULERS[spec.training.schedule], optimizer, warmup_steps(spec, plan.steps), plan.steps
    )
    every = math.ceil(plan.steps / EVALUATIONS)
    best: JointStart | None = None
    sign = 1.0 if spec.selection.mode == "max" else -1.0
    assert spec.engine.micro_batch_size is not None, "the plan resolves the micro batch"
    for step, rows in enumerate(_batches(plan, spec, splits), start=1):
        learner.add_gradient(splits.train, rows, spec.engine.micro_batch_size, step)
        if spec.training.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(learner.parameters, spec.training.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
        if should_stop():
            return None
        if step % every == 0 or step == plan.steps:
            value = _on_valid(spec, learner, splits, evaluation)
            if best is None or sign * (value - best.report["value"]) > 0:
                weights = [parameter.detach().cpu().clone() for parameter in learner.parameters]
                report = {"steps": plan.steps, "step": step, "value": value}
                best = JointStart(weights, {**report, "learning_rate": plan.learning_rate})
    return best


def _batches(plan: JointPlan, spec: FineTuneSpec, splits: Splits) -> Iterator[Any]:
    """Global batches as of any training, one after the other."""
    order = Shuffled(splits.train_digest, spec.training.seed, len(splits.train))
    batches = BatchPlan(order, plan.batch_size, plan.batch_size, num_workers=1)
    for step in range(plan.steps):
        yield batches.global_batch(*divmod(step, batches.steps_per_epoch))


def _on_valid(
    spec: FineTuneSpec, learner: Learner, splits: Splits, evaluation: EvaluationPass
) -> float:
    assert spec.data.train_on is not None, "the plan resolves it"
    figures = {
        domain: evaluation.evaluate_alone(learner.predict, splits.valid[domain])
        for domain in domains_to_evaluate(spec.selection, spec.data.train_on)
    }
    return selected_value(spec.selection, figures)


def _optimizer(
    model: PreTrainedModel, plan: JointPlan, spec: FineTuneSpec
) -> torch.optim.Optimizer:
    """AdamW as the Trainer has it: no decay of biases and norms."""
    plain = [p for p in model.parameters() if p.ndim < 2]
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    training = spec.training
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": training.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=plan.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        eps=training.adam_epsilon,
        fused=True,
    )
