"""What a frozen base makes of each row, made once: the head trains on it alone.

The base of feature extraction reads without dropout and never changes, so its output for a row is
the same in every epoch. It is kept on the node like encoded rows, by a digest of the rows, the base
and how it reads. Called by the training function; `models.frozen` gives the features back to the
model in place of its base.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.records import Launch
from orchestrator.specs import FreezeMethod
from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.data.columns import column_of, reader_of
from orchestrator.worker.data.splits import Splits
from orchestrator.worker.data.stored import RowCache
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.models.frozen import (
    FEATURES,
    ReplayedBase,
    can_keep_features,
    read_features,
)
from orchestrator.worker.tasks.base import Encoded, Task

FORMAT = 1


def with_features(
    launch: Launch,
    model: torch.nn.Module,
    evaluation: EvaluationPass,
    splits: Splits,
    cache: RowCache,
) -> tuple[EvaluationPass, Splits]:
    """What training works with where the whole base is frozen: each row is read now, and no more.

    Elsewhere, and for heads and collators that need more than features, what was given.
    """
    spec = launch.spec.spec
    extracts = isinstance(spec.method, FreezeMethod) and spec.method.all_layers
    if not extracts or spec.data.collator or not can_keep_features(model):
        return evaluation, splits
    assert isinstance(model, PreTrainedModel)
    base = f"{launch.identity.base}/{spec.training.seed}"  # what is new in it follows from the seed
    read = FeatureReader(model, evaluation, cache, base).read(splits)
    ReplayedBase(model)
    return replace(evaluation, task=feature_task(evaluation.task)), read


class FeatureRows:
    """Encoded rows, each with what the base makes of it."""

    def __init__(self, rows: Encoded, features: np.ndarray) -> None:
        self.rows = rows
        self.features = features  # (rows, vectors x hidden size)
        self.lengths = rows.lengths
        self.targets = rows.targets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        none = np.zeros_like(self.features[0])
        mine = none if index == PADDING else self.features[index]
        return {**self.rows[index], FEATURES: mine}


class FeatureTask:
    """A task whose batches of `FeatureRows` hold features; all else is the task's own."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        if FEATURES not in rows[0]:
            return self._task.collate(rows, tokenizer)
        plain = [{name: row[name] for name in row if name != FEATURES} for row in rows]
        batch = self._task.collate(plain, tokenizer)
        tokens = {"input_ids", "attention_mask", "token_type_ids"}
        return {
            **{name: values for name, values in batch.items() if name not in tokens},
            "input_ids": batch["input_ids"][:, :1],
            "attention_mask": torch.ones_like(batch["input_ids"][:, :1]),
            FEATURES: torch.from_numpy(np.stack([row[FEATURES] for row in rows])),
        }


def feature_task(task: Task) -> Task:
    """The task for models whose base was read before."""
    return cast(Task, FeatureTask(task))


@dataclass(frozen=True, slots=True)
class FeatureReader:
    """Reads the rows of splits with a frozen model, or what it read of equal rows before."""

    model: PreTrainedModel
    evaluation: EvaluationPass
    cache: RowCache
    base: str  # digest of the base and of what is new in it

    def read(self, splits: Splits) -> Splits:
        """The splits that are trained on and decided by, with features; test is read at the end."""
        return replace(
            splits,
            train=self._read(splits.train),
            valid={domain: self._read(rows) for domain, rows in splits.valid.items()},
        )

    def _read(self, rows: Encoded) -> Encoded:
        """A collective where one of the nodes lacks them."""
        key, gang = self._key(rows), self.evaluation.gang
        found = self.cache.find(key)
        if not all(gang.gather(found is not None)):
            features = self._measured(rows)
            found = pa.table({FEATURES: column_of(features)})
            if gang.local_rank == 0:
                self.cache.keep(key, found)
        assert found is not None
        return FeatureRows(rows, reader_of(found.column(FEATURES)).array())

    def _measured(self, rows: Encoded) -> np.ndarray:
        device = self.evaluation.device
        torch.nn.Module.to(self.model, device)
        reading = replace(self.evaluation, task=cast(Task, _Reading(self.evaluation.task)))
        was_training = self.model.training
        torch.nn.Module.train(self.model, False)
        try:
            return reading.predict(self.model.base_model, rows)
        finally:
            torch.nn.Module.train(self.model, was_training)

    def _key(self, rows: Encoded) -> str:
        """By the rows, the base, and in what company rows are read: padding changes rounding."""
        digest = hashlib.sha256()
        how = [FORMAT, self.base, self.evaluation.batch_size, torch.__version__]
        digest.update(json.dumps([*how, str(self.evaluation.device.type)]).encode())
        for index in range(len(rows)):
            digest.update(json.dumps(rows[index], sort_keys=True).encode())
        return digest.hexdigest()[:40]


class _Reading:
    """Stands for a task whose predictions are the features."""

    def __init__(self, task: Task) -> None:
        self.collate = task.collate

    def predictions(self, outputs: Any, _: torch.Tensor) -> torch.Tensor:
        return read_features(outputs)
