"""The trainer of meta-learning: an outer step over a batch of episodes, under the same engines.

Each worker learns its share of a step's episodes on a copy of the weights, one after the other.
What an episode asks for enters the engine as the gradient of a number that the model itself
returns, so that DDP and ZeRO reduce, accumulate, clip and step as they do for any loss.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from orchestrator.specs import FineTuneSpec, MetaMethod, TextClassification
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.episodes import EpisodeNumbers, Episodes, few_of_each
from orchestrator.worker.data.orders import generator_of
from orchestrator.worker.data.splits import Splits
from orchestrator.worker.models.learner import Learner
from orchestrator.worker.training.arguments import training_arguments
from orchestrator.worker.training.methods.meta import descend, inner_steps
from orchestrator.worker.training.trainer import EpochLoader, FineTuneTrainer, Run


def episode_batches(spec: FineTuneSpec, num_rows: int, num_workers: int) -> BatchPlan:
    """Steps whose batches hold numbers of episodes; an epoch draws as many rows as there are.

    Args:
        spec: Resolved.
        num_rows: Of the training domains.
        num_workers: Of the gang.
    """
    method, task = spec.method, spec.task
    assert isinstance(method, MetaMethod)
    assert isinstance(task, TextClassification), "`validate` refuses others"
    assert task.labels is not None, "the plan resolves them"
    steps = method.steps_per_epoch(num_rows, len(task.labels))
    return BatchPlan(
        order=EpisodeNumbers(steps * method.episodes_per_step),
        global_batch_size=method.episodes_per_step,
        micro_batch_size=1,
        num_workers=num_workers,
    )


def episodes_of(spec: FineTuneSpec, splits: Splits) -> Episodes:
    assert isinstance(spec.method, MetaMethod)
    assert spec.data.train_on is not None, "the plan resolves it"
    rows = {domain: np.array(splits.train_domains[domain]) for domain in spec.data.train_on}
    return Episodes(
        domains=rows,
        targets=splits.train.targets,
        digest=splits.train_digest,
        seed=spec.training.seed,
        shots=spec.method.shots,
        query=spec.method.query_of_each,
    )


class EpisodicTrainer(FineTuneTrainer):
    """Trains one initialisation for one Run, whose batches hold numbers of episodes."""

    def __init__(self, run: Run, model: PreTrainedModel, episodes: Episodes, scratch: Any) -> None:
        self.episodes = episodes
        self._how = inner_steps(run.spec)
        self._learner = learner_of(run, model)
        self._steered = Steered(model)
        arguments = training_arguments(with_episodes_as_rows(run.spec), run.num_steps, scratch)
        super().__init__(run, model, arguments)

    @property
    def rows_per_step(self) -> int:
        method = self._method
        classes = len(np.unique(self.episodes.targets))
        return method.episodes_per_step * classes * (method.shots + method.query_of_each)

    @property
    def _method(self) -> MetaMethod:
        method = self.run.spec.method
        assert isinstance(method, MetaMethod)
        return method

    def get_train_dataloader(self) -> EpochLoader:
        return EpochLoader(
            AsTheyAre(),  # type: ignore[arg-type]  # map-style without torch's base class
            batch_sampler=self.sampler,
            collate_fn=lambda numbers: {"episode": numbers[0]},
            generator=torch.Generator(),  # as in `FineTuneTrainer`
        )

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Learns one episode on the copy and hands the engine what follows from it."""
        episode = self.episodes.episode(inputs["episode"])
        descent = descend(self._learner, self._steered.weights, self.run.train, episode, self._how)
        # The engine takes the mean over workers, which is undone; the step's is over its episodes.
        share = self.run.gang.world_size / self._method.episodes_per_step
        self._steered.to(descent.loss, descent.gradients)
        loss: torch.Tensor = model() * share
        named = {"scale_wrt_gas": False} if self.is_deepspeed_enabled else {}
        self.accelerator.backward(loss, **named)
        return loss.detach()

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        """Nothing is counted here: an episode's loss is a mean already."""

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # an episode's number has no tokens to count

    def _valid_figures(self) -> dict[str, dict[str, Any]]:
        """Of weights that have learned from a few training rows first: that is what they are for.

        These rows are always the same, so that evaluations differ by the weights alone.
        """
        drawn_from, learner = self.episodes, self._learner
        figures = {}
        for domain, encoded in self.run.valid.items():
            generator = generator_of(drawn_from.digest, drawn_from.seed, "valid", domain)
            rows, targets = drawn_from.domains[domain], drawn_from.targets
            support, _ = few_of_each(rows, targets, drawn_from.shots, 0, generator)
            learner.begin(self._steered.weights, np.unique(targets[rows]).tolist())
            learner.learn(self.run.train, support, self._how, int(generator.integers(2**31)))
            figures[domain] = self.run.evaluation.evaluate(learner.predict, encoded)
        return figures


class AsTheyAre:
    """A map-style data set whose rows are their own indices."""

    def __getitem__(self, index: int) -> int:
        return index


def with_episodes_as_rows(spec: FineTuneSpec) -> FineTuneSpec:
    """The spec as the engine is to see it: a row of a batch is an episode."""
    assert isinstance(spec.method, MetaMethod)
    training: dict[str, Any] = {"global_batch_size": spec.method.episodes_per_step}
    return spec.model_copy(
        update={
            "training": spec.training.model_copy(update=training),
            "engine": spec.engine.model_copy(update={"micro_batch_size": 1}),
        }
    )


def learner_of(run: Run, model: PreTrainedModel) -> Learner:
    """The copy that episodes are learned on; taken before an engine lays hands on the model."""
    spec = run.spec
    assert isinstance(spec.method, MetaMethod)
    twin = copy.deepcopy(model).to(run.evaluation.device)  # type: ignore[arg-type]
    if spec.engine.gradient_checkpointing:
        twin.gradient_checkpointing_enable({"use_reentrant": False})
    return Learner(
        twin,
        run.task,
        run.tokenizer,
        in_bf16=spec.training.precision == "bf16",
        fresh_head=spec.method.head == "fresh",
    )


class Steered:
    """A model that returns a given number instead of outputs, with given gradients."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._value = torch.zeros(())
        self._gradients: Sequence[torch.Tensor] = ()
        model.forward = self._forward  # engines wrap the model, and call this

    def to(self, value: float, gradients: Sequence[torch.Tensor]) -> None:
        """What the next call returns, and the gradient of it by each of the weights."""
        self._value = torch.tensor(value, device=self.weights[0].device)
        self._gradients = gradients

    def _forward(self) -> torch.Tensor:
        number: torch.Tensor = _Given.apply(  # type: ignore[no-untyped-call]
            self._value, self._gradients, *self.weights
        )
        return number


class _Given(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: torch.Tensor, gradients: Sequence[torch.Tensor], *_: torch.Tensor
    ) -> torch.Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[Any, ...]:
        return (None, None, *(gradient.mul_(upstream) for gradient in ctx.gradients))
