"""A head learns on kept features what it learns on a frozen base, for every kind of base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestrator.inspect import architectures
from orchestrator.specs import FreezeMethod
from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.data.features import FeatureReader, FeatureRows, feature_task
from orchestrator.worker.data.splits import Splits
from orchestrator.worker.data.stored import RowCache
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.models.frozen import (
    FEATURES,
    ReplayedBase,
    can_keep_features,
    read_features,
)
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training.methods import freeze
from tests.worker.evaluation.test_passes import SharedGang
from tests.worker.models.test_packed import AutoModelForSequenceClassification, batch, tiny
from tests.worker.tiny import launch, rows, write_base

ALL = FreezeMethod(type="freeze", all_layers=True)


class Bench:
    """A frozen model with dropout in its base, and rows to learn."""

    def __init__(self, folder: Path, cache: Path) -> None:
        base = folder / "base"
        if not base.exists():
            write_base(base, dropout=0.3)
        self.task = task_for(launch(base, folder).spec.spec, base)
        self.tokenizer = load_tokenizer(base)
        self.model = load_model(self.task, base, self.tokenizer, seed=1)
        freeze.apply(ALL, self.model)
        encoded = self.task.encode(pa.table(rows(12)), self.tokenizer)
        self.splits = Splits(encoded, "d", {}, {"toy": encoded}, {}, {})
        gang: Any = SharedGang(0, 1, [])
        gang.gather, gang.local_rank = (lambda value: [value]), 0
        self.evaluation = EvaluationPass(self.task, self.tokenizer, gang, 4, torch.device("cpu"))
        self.cache = RowCache(cache, 1_000_000)

    def reader(self, base: str = "b") -> FeatureReader:
        return FeatureReader(self.model, self.evaluation, self.cache, base)  # type: ignore[arg-type]

    def head_after(self, data: Any, task: Any) -> tuple[torch.Tensor, list[float]]:
        """The head's weights after some steps, and the losses on the way."""
        self.model.train()
        head = [p for p in self.model.parameters() if p.requires_grad]
        optimizer, losses = torch.optim.AdamW(head, lr=1e-2), []
        torch.manual_seed(3)  # of the head's own dropout
        for step in range(6):
            picked = [data[(4 * step + n) % 12] for n in range(4)]
            inputs = task.collate([*picked, data[PADDING]], self.tokenizer)
            labels = inputs.pop("labels")
            loss = task.loss_sum(self.model(**inputs), labels) / 4
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return torch.cat([p.detach().reshape(-1) for p in head]), losses


def test_a_head_on_features_learns_what_it_learns_on_the_base(tmp_path: Path) -> None:
    plain, kept = (Bench(tmp_path, tmp_path / "rows") for _ in range(2))
    weights, losses = plain.head_after(plain.splits.train, plain.task)
    splits = kept.reader().read(kept.splits)
    ReplayedBase(kept.model)  # type: ignore[arg-type]
    found, found_losses = kept.head_after(splits.train, feature_task(kept.task))

    assert isinstance(splits.valid["toy"], FeatureRows)
    assert found_losses == pytest.approx(losses, abs=1e-5)
    torch.testing.assert_close(found, weights, atol=1e-5, rtol=1e-4)


def test_a_base_reads_equal_rows_once(tmp_path: Path) -> None:
    first, again = (Bench(tmp_path, tmp_path / "rows") for _ in range(2))
    calls: list[int] = []
    for bench in (first, again):
        bench.model.base_model.register_forward_hook(lambda *_: calls.append(1))
    made: Any = first.reader().read(first.splits)
    assert len(calls) == 3, "train and valid are the same rows, read in batches of four"
    found: Any = again.reader().read(again.splits)
    assert len(calls) == 3
    np.testing.assert_array_equal(found.train.features, made.train.features)
    again.reader(base="another").read(again.splits)
    assert len(calls) == 6


@pytest.mark.parametrize("kind", sorted(architectures._PACKED_BY_MASK))
def test_heads_read_nothing_but_the_features(kind: str) -> None:
    model = tiny(kind, AutoModelForSequenceClassification).eval()
    assert can_keep_features(model)
    inputs = batch("classes")
    del inputs["labels"]
    with torch.no_grad():
        expected = model(**inputs).logits
        features = read_features(model.base_model(**inputs))
        ReplayedBase(model)
        short = {name: values[:, :1] for name, values in inputs.items()}
        found = model(**short, **{FEATURES: features}).logits
    torch.testing.assert_close(found, expected)


def test_a_head_that_reads_more_reads_the_base_each_time() -> None:
    assert not can_keep_features(tiny("llama", AutoModelForSequenceClassification))
