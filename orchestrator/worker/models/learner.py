"""A model that learns from a few rows and starts anew: the inner loop of meta-learning, and what
measures an initialisation.

Its weights are always fp32 and its own: neither the engine around the training nor its hooks see
them. All of its randomness follows from the seed of each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.specs.method import InnerOptimizer
from orchestrator.worker.tasks.base import Encoded, Task

NEVER = -1e9  # logit of a class that an episode does not know


@dataclass(frozen=True, slots=True)
class FewSteps:
    """How it learns."""

    steps: int
    learning_rate: float
    optimizer: InnerOptimizer
    batch_size: int  # rows of a step, at most
    micro_batch_size: int  # rows that are computed at once


class Learner:
    """Learns in place; `begin` makes it forget."""

    def __init__(
        self,
        model: PreTrainedModel,
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        *,
        in_bf16: bool = False,
        fresh_head: bool = False,
    ) -> None:
        """
        Args:
            model: With the task's head, in fp32, on its device; it is changed.
            task: Encodes, collates and judges rows.
            tokenizer: The base's.
            in_bf16: Compute in bf16 (torch's autocast).
            fresh_head: Whether the output layer starts from zero each time.
        """
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.head = output_layer(model) if fresh_head else None
        self._task = task
        self._tokenizer = tokenizer
        self._in_bf16 = in_bf16
        self._known: torch.Tensor | None = None  # classes of the rows, where not all

    @property
    def device(self) -> torch.device:
        return self.parameters[0].device

    def begin(self, weights: Iterable[torch.Tensor], classes: Sequence[int]) -> None:
        """Takes these weights (of `parameters`, in order) and knows these classes only."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters, weights, strict=True):
                mine.copy_(theirs)
            if self.head is not None:
                for parameter in self.head.parameters():
                    parameter.zero_()
        self.know(classes)

    def know(self, classes: Sequence[int]) -> None:
        """What is predicted from now on; an output for another class never counts."""
        outputs = self.model.config.num_labels or 0
        known = torch.zeros(outputs, dtype=torch.bool, device=self.device)
        known[list(classes)] = True
        self._known = None if bool(known.all()) else known

    def learn(self, encoded: Encoded, rows: np.ndarray, how: FewSteps, seed: int) -> float:
        """Takes a few steps on these rows; returns the mean loss over the steps.

        A step takes all rows, or the next `batch_size` of them in an order drawn each time round.
        """
        optimizer = self._optimizer(how)
        losses = []
        self.model.train()
        with self._randomness(seed):
            for batch in step_batches(rows, how, seed):
                losses.append(self._backward(encoded, batch, how.micro_batch_size))
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        return float(np.mean(losses))

    def add_gradient(self, encoded: Encoded, rows: np.ndarray, micro: int, seed: int) -> float:
        """Leaves the gradient of the mean loss on these rows in `.grad`; returns that loss."""
        self.model.train()
        with self._randomness(seed):
            return self._backward(encoded, rows, micro)

    def predict(self, **inputs: Any) -> Any:
        """The model's outputs, as `EvaluationPass` calls for them, in evaluation mode."""
        self.model.train(False)
        return self._forward(inputs)

    def _backward(self, encoded: Encoded, rows: np.ndarray, micro: int) -> float:
        total = 0.0
        for start in range(0, len(rows), micro):
            chunk = [encoded[int(row)] for row in rows[start : start + micro]]
            batch = self._task.collate(chunk, self._tokenizer)
            inputs = {name: value.to(self.device) for name, value in batch.items()}
            labels = inputs.pop("labels")
            loss = self._task.loss_sum(self._forward(inputs), labels) / len(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    def _forward(self, inputs: dict[str, Any]) -> Any:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._in_bf16):
            outputs = self.model(**inputs)
        if self._known is not None:
            outputs.logits = outputs.logits.masked_fill(~self._known, NEVER)
        return outputs

    def _optimizer(self, how: FewSteps) -> torch.optim.Optimizer:
        if how.optimizer == "sgd":
            return torch.optim.SGD(self.parameters, lr=how.learning_rate)
        return torch.optim.Adam(self.parameters, lr=how.learning_rate, fused=True)

    @contextmanager
    def _randomness(self, seed: int) -> Iterator[None]:
        """Dropout that follows from the seed, and leaves the training's random state alone."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield


def step_batches(rows: np.ndarray, how: FewSteps, seed: int) -> Iterator[np.ndarray]:
    """The rows of each step."""
    generator = np.random.Generator(np.random.Philox(seed))
    left = rows[:0]
    for _ in range(how.steps):
        if len(rows) <= how.batch_size:
            yield rows
            continue
        if len(left) < how.batch_size:
            left = np.concatenate([left, generator.permutation(rows)])
        yield left[: how.batch_size]
        left = left[how.batch_size :]


def output_layer(model: PreTrainedModel) -> torch.nn.Linear:
    """The head's last layer, whose outputs are the classes."""
    inside = {id(module) for module in model.base_model.modules()}
    layers = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
        and id(module) not in inside
        and module.out_features == model.config.num_labels
    ]
    assert layers, f"{type(model).__name__} has no output layer"
    return layers[-1]
