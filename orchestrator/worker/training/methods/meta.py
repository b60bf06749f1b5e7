"""Meta-learning: which way an episode moves the initialisation.

Reptile (Nichol et al. 2018, arXiv:1803.02999): from where the inner steps begin to where they end.
First-order MAML (Finn et al. 2017, arXiv:1703.03400, section 5.2; FOMAML): the gradient, at the
point where the inner steps end, of the loss on other rows of the episode. Both are handed to the
outer optimizer in place of a gradient; a batch of episodes counts by its mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from orchestrator.specs import FineTuneSpec, MetaMethod
from orchestrator.worker.data.episodes import Episode
from orchestrator.worker.models.learner import FewSteps, Learner
from orchestrator.worker.tasks.base import Encoded


def inner_steps(spec: FineTuneSpec) -> FewSteps:
    """How the episodes of a resolved spec learn."""
    method = spec.method
    assert isinstance(method, MetaMethod)
    assert spec.engine.micro_batch_size is not None, "the plan resolves the micro batch"
    return FewSteps(
        steps=method.inner_steps,
        learning_rate=method.inner_learning_rate,
        optimizer=method.inner_optimizer,
        batch_size=spec.training.global_batch_size,
        micro_batch_size=spec.engine.micro_batch_size,
    )


@dataclass(frozen=True, slots=True)
class Descent:
    """What an episode asks of the initialisation."""

    gradients: list[torch.Tensor]  # one a parameter, in fp32; the learner's own memory
    loss: float  # mean over the inner steps for Reptile, on the query rows for FOMAML


def descend(
    learner: Learner,
    weights: Sequence[torch.Tensor],
    train: Encoded,
    episode: Episode,
    how: FewSteps,
) -> Descent:
    """Learns the episode from `weights`; a gradient that leads there, or on from there.

    Without query rows it is Reptile's, else FOMAML's.

    Args:
        learner: Changed; what is returned holds until it begins again.
        weights: The initialisation's parameters.
        train: The rows that the episode's indices are of.
        episode: What is learned.
        how: The inner steps.
    """
    learner.begin(weights, np.unique(train.targets[episode.support]).tolist())
    loss = learner.learn(train, episode.support, how, episode.seed)
    if len(episode.query):
        micro = how.micro_batch_size
        loss = learner.add_gradient(train, episode.query, micro, episode.seed + 1)
        gradients = [_or_zero(parameter) for parameter in learner.parameters]
    else:
        gradients = _way_back(learner, weights)
    if learner.head is not None:  # it starts from zero: nothing of it is kept
        fresh = {id(parameter) for parameter in learner.head.parameters()}
        for parameter, gradient in zip(learner.parameters, gradients, strict=True):
            if id(parameter) in fresh:
                gradient.zero_()
    return Descent(gradients, loss)


def _way_back(learner: Learner, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Start minus end, in place of the end: a step of size 1 against it is all of the way."""
    with torch.no_grad():
        return [
            parameter.detach().neg_().add_(start)
            for parameter, start in zip(learner.parameters, weights, strict=True)
        ]


def _or_zero(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:  # nothing that was computed goes through it
        return torch.zeros_like(parameter)
    gradient, parameter.grad = parameter.grad, None
    return gradient
