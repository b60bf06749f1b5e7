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
        mine: list[tuple[np.ndarray, np.ndarray]] = []
        with torch.no_grad():
            for indices in self._my_batches(encoded):
                rows = [encoded[int(index)] for index in indices]
                batch = self._collated(rows)
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

    def _collated(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        if isinstance(self.task, ScoresCandidates):
            return self.task.collate_candidates(rows, self.tokenizer)
        return self.task.collate(rows, self.tokenizer)

    def _my_batches(self, encoded: Encoded) -> Iterator[np.ndarray]:
        """Batches of rows of like length (little padding), dealt to the ranks in turn."""
        order = np.argsort(encoded.lengths, kind="stable")
        starts = range(0, len(order), self.batch_size)
        batches = [order[start : start + self.batch_size] for start in starts]
        while len(batches) % self.gang.world_size:
            batches.append(np.array([PADDING]))
        yield from batches[self.gang.rank :: self.gang.world_size]
