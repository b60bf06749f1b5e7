"""A pass over a split: all rows once, in order, however the ranks share them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.models.loading import load_tokenizer
from orchestrator.worker.tasks import task_for
from tests.worker.tiny import launch, rows, write_base


class SharedGang:
    """Ranks of one process: each `gather` adds to what the earlier ranks left."""

    def __init__(self, rank: int, world_size: int, left: list[Any]) -> None:
        self.rank, self.world_size, self.left = rank, world_size, left

    def gather(self, value: Any) -> list[Any]:
        self.left.append(value)
        return self.left


def count_tokens(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
    """Stands for a model: its logits tell how many tokens a row had."""
    tokens = attention_mask.sum(dim=1).float()
    return SimpleNamespace(logits=torch.stack([tokens, -tokens], dim=1))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_predictions_come_in_the_order_of_the_rows(world_size: int, tmp_path: Path) -> None:
    base = write_base(tmp_path)
    task, tokenizer = task_for(launch(base, tmp_path).spec.spec, base), load_tokenizer(base)
    encoded = task.encode(pa.table(rows(11)), tokenizer)
    left: list[Any] = []
    calls = []
    for rank in range(world_size):
        gang: Any = SharedGang(rank, world_size, left)
        each = EvaluationPass(task, tokenizer, gang, 2, torch.device("cpu"))
        calls.append(0)

        def forward(**batch: torch.Tensor) -> SimpleNamespace:
            calls[-1] += 1
            return count_tokens(**batch)

        predictions = each.predict(forward, encoded)
    assert predictions[:, 0].tolist() == encoded.lengths.tolist()
    assert len(set(calls)) == 1, "under ZeRO-3 every rank must call forward equally often"
    assert np.array_equal(predictions[:, 1], -encoded.lengths)
