"""A task in which functions of the user stand for some of its own.

Built by the training function where a spec names any. Everything a user's function gives is checked
before it is used: a gang in which ranks go different ways ends in a hang that nobody can explain.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.errors import UserCodeError
from orchestrator.inspect.values import BadValue, one_value
from orchestrator.specs import FineTuneSpec, Split, TaskSpec, TextClassification
from orchestrator.worker.custom.code import UserCode, UserFunction
from orchestrator.worker.evaluation.classification import softmax
from orchestrator.worker.gang import Gang
from orchestrator.worker.tasks.base import Encoded, Task

IGNORED = -100  # the label of rows that fill a short batch


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions a spec names, each with the entry point it came from."""

    transform: tuple[str, UserFunction] | None = None
    collator: tuple[str, UserFunction] | None = None
    loss: tuple[str, UserFunction] | None = None
    metrics: Mapping[str, tuple[str, UserFunction]] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: FineTuneSpec, code: UserCode | None) -> Functions:
        """Imports them; raises UserCodeError."""
        if code is None:
            return cls()

        def named(entry: str | None) -> tuple[str, UserFunction] | None:
            return None if entry is None else (entry, code.function(entry))

        metrics = spec.evaluation.custom_metrics or {}
        return cls(
            transform=named(spec.data.transform),
            collator=named(spec.data.collator),
            loss=named(spec.training.loss),
            metrics={name: (entry, code.function(entry)) for name, entry in metrics.items()},
        )


Tables = dict[tuple[str, Split], pa.Table]


def transformed(tables: Tables, functions: Functions, task: TaskSpec, gang: Gang) -> Tables:
    """Every row after the user's transform; the same on every rank, or an error."""
    if functions.transform is None:
        return tables
    entry, function = functions.transform
    labels = task.labels if isinstance(task, TextClassification) else None
    changed: Tables = {}
    for key, table in tables.items():
        changed[key] = _transformed(table, entry, function, labels)
        if not changed[key].num_rows:
            raise UserCodeError(f"{entry} leaves no row of {'/'.join(key)}")
    digest = hashlib.sha256(repr([t.to_pydict() for t in changed.values()]).encode()).hexdigest()
    if len(set(gang.gather(digest))) > 1:
        raise UserCodeError(
            f"{entry} gives other rows on each worker",
            hint="a transform must give the same for the same row; draw nothing at random",
        )
    return changed


def _transformed(
    table: pa.Table, entry: str, function: UserFunction, labels: Sequence[str] | None
) -> pa.Table:
    roles = table.column_names
    columns: dict[str, list[str]] = {role: [] for role in roles}
    for number, row in enumerate(table.to_pylist(), start=1):
        made = function(dict(row))
        if made is None:
            continue
        for role, value in _checked(made, roles, labels, f"{entry}, row {number}").items():
            columns[role].append(value)
    return pa.table({role: pa.array(values, pa.string()) for role, values in columns.items()})


def _checked(
    made: Any, roles: Sequence[str], labels: Sequence[str] | None, what: str
) -> dict[str, str]:
    """A row as the system works with it; other keys are dropped."""
    if not isinstance(made, Mapping) or not set(roles) <= set(made):
        raise UserCodeError(f"{what}: gave {made!r:.80}, not None or a mapping of {_and(roles)}")
    try:
        row = {role: one_value(role, role, made[role]) for role in roles}
    except BadValue as error:
        raise UserCodeError(f"{what}: {error.message}", hint=error.hint) from None
    if labels is not None and row["label"] not in labels:
        raise UserCodeError(
            f"{what}: gave the label {row['label']!r}, which the task does not know",
            hint="list every label in task.labels",
        )
    return row


class CustomizedTask:
    """A task with the user's collator, loss and metrics; the rest is the task's own."""

    def __init__(self, task: Task, functions: Functions, gang: Gang) -> None:
        self._task = task
        self._functions = functions
        self._gang = gang
        self.version = task.version
        self.loader = task.loader

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return self._task.build_model(folder, dtype)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> Encoded:
        return self._task.encode(table, tokenizer)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        if self._functions.collator is None:
            return self._task.collate(rows, tokenizer)
        entry, function = self._functions.collator
        batch = function([dict(row) for row in rows], tokenizer)
        if not isinstance(batch, Mapping) or not all(map(torch.is_tensor, batch.values())):
            raise UserCodeError(f"{entry} gave no mapping of names to tensors")
        wanted = [row["labels"] for row in rows]
        if "labels" not in batch or batch["labels"].tolist() != wanted:
            raise UserCodeError(
                f"{entry} changed the labels of its rows",
                hint="batch['labels'] is torch.tensor([row['labels'] for row in rows])",
            )
        return dict(batch)

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """The user's mean over the rows that count, times their number."""
        if self._functions.loss is None:
            return self._task.loss_sum(outputs, labels)
        entry, function = self._functions.loss
        logits: torch.Tensor = outputs.logits.float()
        counts = labels != IGNORED
        if not bool(counts.any()):
            return logits.sum() * 0.0  # a share of nothing, in which every rank still takes part
        loss = function(logits[counts], labels[counts])
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            raise UserCodeError(f"{entry} gave {loss!r:.80}, not a tensor of one number")
        if logits.requires_grad and not loss.requires_grad:
            raise UserCodeError(f"{entry} gave a loss that does not depend on the logits")
        summed: torch.Tensor = loss.reshape(()).float() * counts.sum()
        return summed

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return self._task.predictions(outputs, labels)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        figures = self._task.metrics(predictions, labels)
        # Worked out once: ranks that see different values would go different ways.
        mine = self._custom(predictions, labels) if self._gang.is_first else {}
        return {**figures, **self._gang.from_first(mine)}

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return self._task.intervals(predictions, labels, num_samples, seed)

    def _custom(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        probabilities = softmax(predictions)
        found = {}
        for name, (entry, function) in self._functions.metrics.items():
            value = function(labels.copy(), probabilities.copy())
            number = _number(value)
            if number is None or not math.isfinite(number):
                raise UserCodeError(f"{entry} gave {value!r:.80}, not a finite number")
            found[name] = number
        return found


def customized(task: Task, functions: Functions, gang: Gang) -> Task:
    """The task itself where nothing of it is the user's."""
    own = (functions.collator, functions.loss, functions.metrics)
    return CustomizedTask(task, functions, gang) if any(own) else task


def _number(value: Any) -> float | None:
    to_float: Callable[[Any], float] = float
    try:
        return to_float(value)
    except (TypeError, ValueError):
        return None


def _and(roles: Sequence[str]) -> str:
    return " and ".join(roles)
