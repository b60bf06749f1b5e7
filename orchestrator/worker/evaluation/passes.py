"""One pass of a gang over a split: each rank predicts its batches, all get all predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.gang import Gang
from orchestrator.worker.tasks.base import Encoded, ScoresCandidates, Task


@dataclass(frozen=True, slots=True)
class EvaluationPass:
    """What stays the same over the splits of one evaluation."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    gang: Gang
    batch_size: int
    device: torch.device

    def predict(self, forward: Callable[..., Any], encoded: Encoded) -> np.ndarray:
        """Predictions of all rows in the order of `encoded`, on every rank.

        Every rank calls `forward` equally often, because under ZeRO-3 a forward is a collective.

        Args:
            forward: The model or engine, in evaluation mode.
            encoded: One split.
        """
        mine = [self._batch(forward, encoded, indices) for indices in self._my_batches(encoded)]
        return _in_order([part for parts in self.gang.gather(mine) for part in parts])

    def evaluate_alone(self, forward: Callable[..., Any], encoded: Encoded) -> dict[str, Any]:
        """Metrics of all rows by this rank, while the others do something else."""
        parts = [self._batch(forward, encoded, indices) for indices in self._batches(encoded)]
        return self.task.metrics(_in_order(parts), encoded.targets)

    def evaluate(self, forward: Callable[..., Any], encoded: Encoded) -> dict[str, Any]:
        return self.task.metrics(self.predict(forward, encoded), encoded.targets)

    def _collated(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if isinstance(self.task, ScoresCandidates):
            return self.task.collate_candidates(rows, self.tokenizer)
        return self.task.collate(rows, self.tokenizer)

    def _batch(
        self, forward: Callable[..., Any], encoded: Encoded, indices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(rows, predictions) of one batch, without what fills it up."""
        batch = self._collated([encoded[int(index)] for index in indices])
        labels = batch.pop("labels").to(self.device)
        with torch.no_grad():
            outputs = forward(**{key: value.to(self.device) for key, value in batch.items()})
        predictions = self.task.predictions(outputs, labels).cpu().numpy()
        real = indices != PADDING
        return indices[real], predictions[real]

    def _batches(self, encoded: Encoded) -> list[np.ndarray]:
        """Batches of rows of like length: little padding."""
        order = np.argsort(encoded.lengths, kind="stable")
        starts = range(0, len(order), self.batch_size)
        return [order[start : start + self.batch_size] for start in starts]

    def _my_batches(self, encoded: Encoded) -> Iterator[np.ndarray]:
        """The rank's batches: dealt in turn, and as many to each."""
        batches = self._batches(encoded)
        while len(batches) % self.gang.world_size:
            batches.append(np.array([PADDING]))
        yield from batches[self.gang.rank :: self.gang.world_size]


def _in_order(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Predictions in the order of their rows."""
    filled = [part for part in parts if len(part[0])]
    order = np.concatenate([indices for indices, _ in filled])
    predictions = np.concatenate([values for _, values in filled])
    ordered: np.ndarray = predictions[np.argsort(order)]
    return ordered
