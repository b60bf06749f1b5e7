"""One pass of a gang over a split: each rank predicts its batches, all get all predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from orchestrator.specs.task_views import task_of_key
from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.shared import SharedModel
from orchestrator.worker.tasks.base import Encoded, HasParts, Task


@dataclass(frozen=True, slots=True)
class EvaluationPass:
    """What stays the same over the splits of one evaluation."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    gang: Gang
    batch_size: int
    device: torch.device

    def of(self, key: str) -> EvaluationPass:
        """For a split by its key, `task/domain` where the job has several tasks."""
        if not isinstance(self.task, HasParts):
            return self
        return replace(self, task=self.task.part(task_of_key(key)))

    def alone(self, key: str) -> EvaluationPass:
        """For a split, or a task, and a model of its task alone."""
        if not isinstance(self.task, HasParts):
            return self
        return replace(self, task=self.task.task(task_of_key(key)))

    def predict(self, forward: Callable[..., Any], encoded: Encoded) -> np.ndarray:
        """Predictions of all rows in the order of `encoded`, on every rank.

        Every rank calls `forward` equally often, because under ZeRO-3 a forward is a collective.

        Args:
            forward: The model or engine, in evaluation mode.
            encoded: One split.
        """
        mine: list[tuple[np.ndarray, np.ndarray]] = []
        with torch.no_grad():
            for indices in self._my_batches(encoded):
                rows = [encoded[int(index)] for index in indices]
                batch = self.task.collate(rows, self.tokenizer)
                labels = batch.pop("labels").to(self.device)
                outputs = forward(**{key: value.to(self.device) for key, value in batch.items()})
                real = indices != PADDING
                predictions = self.task.predictions(outputs, labels).cpu().numpy()
                mine.append((indices[real], predictions[real]))
        parts = [part for parts in self.gang.gather(mine) for part in parts if len(part[0])]
        order = np.concatenate([indices for indices, _ in parts])
        predictions = np.concatenate([values for _, values in parts])
        return predictions[np.argsort(order)]

    def evaluate(self, forward: Callable[..., Any], encoded: Encoded) -> dict[str, Any]:
        return self.task.metrics(self.predict(forward, encoded), encoded.targets)

    def _my_batches(self, encoded: Encoded) -> Iterator[np.ndarray]:
        """Batches of rows of like length (little padding), dealt to the ranks in turn."""
        order = np.argsort(encoded.lengths, kind="stable")
        starts = range(0, len(order), self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        while len(batches) % self.gang.world_size:
            batches.append(np.array([PADDING]))
        yield from batches[self.gang.rank :: self.gang.world_size]


def answering_on(
    model: torch.nn.Module, evaluation: EvaluationPass
) -> tuple[torch.nn.Module, Callable[[str], EvaluationPass]]:
    """The model that answers for each split of a job, and the pass of a split by its key.

    Of several tasks that predict tokens it is the one they share, which can also write texts.
    """
    if isinstance(model, SharedModel) and not model.folders:
        return model.language, evaluation.alone
    return model, evaluation.of
