"""A task in which functions of the user stand for some of its own.

Built by the training function where a spec names any. Everything a user's function gives is checked
before it is used: a gang in which ranks go different ways ends in a hang that nobody can explain.
"""

from __future__ import annotations

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
from orchestrator.inspect.labels import LABEL, LabelForm, form_of, set_of
from orchestrator.inspect.values import BadValue, is_extra, one_value
from orchestrator.specs import FineTuneSpec, Split, TaskSpec, TextClassification
from orchestrator.specs.runtime_checks import entry_points
from orchestrator.worker.custom.code import UserCode, UserFunction
from orchestrator.worker.data.splits import table_digest
from orchestrator.worker.evaluation.classification import softmax
from orchestrator.worker.evaluation.sums import RowSums
from orchestrator.worker.gang import Gang
from orchestrator.worker.tasks.base import Counts, Encoded, GivesProbabilities, SumsRows, Task

IGNORED = -100  # the label of rows that fill a short batch


Named = tuple[str, UserFunction]
"""A function, and how messages name it: the field of the spec and its entry point."""


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions a spec names."""

    transform: Named | None = None
    collator: Named | None = None
    loss: Named | None = None
    metrics: Mapping[str, Named] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: FineTuneSpec, code: UserCode | None) -> Functions:
        """Imports them; raises UserCodeError."""
        if code is None:
            return cls()

        found: dict[str, Named] = {
            path: (f"{path}: {entry}", code.function(entry, path))
            for path, entry in entry_points(spec)
        }
        metrics = spec.evaluation.custom_metrics or {}
        return cls(
            transform=found.get("data.transform"),
            collator=found.get("data.collator"),
            loss=found.get("training.loss"),
            metrics={name: found[f"evaluation.custom_metrics.{name}"] for name in metrics},
        )


Tables = dict[tuple[str, Split], pa.Table]


def transformed(tables: Tables, functions: Functions, task: TaskSpec, gang: Gang) -> Tables:
    """Every row after the user's transform; the same on every rank, or an error."""
    if functions.transform is None:
        return tables
    what, _ = functions.transform
    labels = task.labels if isinstance(task, TextClassification) else None
    kept = Kept(form_of(task), labels)
    changed: Tables = {}
    for key, table in tables.items():
        split = "/".join(key)
        changed[key] = _transformed(table, split, functions.transform, kept)
        if not changed[key].num_rows:
            raise UserCodeError(f"{what} leaves no row of {split}")
    digests = [table_digest(table) for table in changed.values()]
    if any(other != digests for other in gang.gather(digests)):
        raise UserCodeError(
            f"{what} gives other rows on each worker",
            hint="a transform must give the same for the same row; draw nothing at random",
        )
    return changed


@dataclass(frozen=True, slots=True)
class Kept:
    """What the labels of rows are to be."""

    form: LabelForm
    labels: Sequence[str] | None  # None where any goes


def _transformed(table: pa.Table, split: str, transform: Named, kept: Kept) -> pa.Table:
    what, function = transform
    roles = [role for role in table.column_names if not is_extra(role)]
    extra = [role for role in table.column_names if is_extra(role)]
    columns: dict[str, list[str]] = {role: [] for role in table.column_names}
    for number, row in enumerate(table.to_pylist(), start=1):
        seen = {role: row[role] for role in roles}
        made = function(_as_users_see_it(seen, kept.form))
        if made is None:
            continue
        which = f"{what}, row {number} of {split}"
        for role, value in _checked(made, roles, kept, which).items():
            columns[role].append(value)
        for role in extra:  # what rows are told apart by stays with them
            columns[role].append(row[role])
    return pa.table({role: pa.array(values, pa.string()) for role, values in columns.items()})


def _as_users_see_it(row: dict[str, str], form: LabelForm) -> dict[str, Any]:
    """Sets of labels as lists, numbers as numbers."""
    seen: dict[str, Any] = dict(row)
    if LABEL in row and form.is_set:
        seen[LABEL] = set_of(row[LABEL])
    elif LABEL in row and form.is_number:
        seen[LABEL] = float(row[LABEL])
    return seen


def _checked(made: Any, roles: Sequence[str], kept: Kept, what: str) -> dict[str, str]:
    """A row as the system works with it; other keys are dropped."""
    if not isinstance(made, Mapping) or not set(roles) <= set(made):
        raise UserCodeError(f"{what}: gave {made!r:.80}, not None or a mapping of {_and(roles)}")
    try:
        row = {role: one_value(role, role, made[role], kept.form) for role in roles}
    except BadValue as error:
        raise UserCodeError(f"{what}: {error.message}", hint=error.hint) from None
    if kept.labels is None:
        return row
    for label in set_of(row[LABEL]) if kept.form.is_set else [row[LABEL]]:
        if label not in kept.labels:
            raise UserCodeError(
                f"{what}: gave the label {label!r}, which the task does not know",
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
        what, function = self._functions.collator
        batch = function([dict(row) for row in rows], tokenizer)
        if not isinstance(batch, Mapping) or not all(map(torch.is_tensor, batch.values())):
            raise UserCodeError(f"{what} gave no mapping of names to tensors")
        odd = [name for name, values in batch.items() if values.shape[:1] != (len(rows),)]
        if odd:
            raise UserCodeError(
                f"{what} gave {odd[0]} of {tuple(batch[odd[0]].shape)} for {len(rows)} rows",
                hint="the first dimension of every tensor is that of the rows",
            )
        wanted = [row["labels"] for row in rows]
        if "labels" not in batch or batch["labels"].tolist() != wanted:
            raise UserCodeError(
                f"{what} changed the labels of its rows",
                hint="batch['labels'] is torch.tensor([row['labels'] for row in rows])",
            )
        return dict(batch)

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """The user's mean over the rows that count, times their number."""
        if self._functions.loss is None:
            return self._task.loss_sum(outputs, labels)
        what, function = self._functions.loss
        logits: torch.Tensor = outputs.logits.float()
        counts = labels != IGNORED
        whole_rows = counts if counts.dim() == 1 else counts.all(dim=1)
        if not bool(counts.any()):
            return logits.sum() * 0.0  # a share of nothing, in which every rank still takes part
        loss = function(logits[whole_rows], labels[whole_rows])
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            raise UserCodeError(f"{what} gave {loss!r:.80}, not a tensor of one number")
        if logits.requires_grad and not loss.requires_grad:
            raise UserCodeError(f"{what} gave a loss that does not depend on the logits")
        summed: torch.Tensor = loss.reshape(()).float() * counts.sum()
        return summed

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        if self._functions.loss is None and isinstance(self._task, Counts):
            return self._task.counted(labels)
        return (labels != IGNORED).sum()

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

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        assert isinstance(self._task, SumsRows), "slices are refused where there is nothing to sum"
        return self._task.row_sums(predictions, labels)

    def _custom(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        probabilities = (
            self._task.probabilities(predictions)
            if isinstance(self._task, GivesProbabilities)
            else softmax(predictions)
        )
        found = {}
        for name, (what, function) in self._functions.metrics.items():
            value = function(labels.copy(), probabilities.copy())
            number = _number(value)
            if number is None or not math.isfinite(number):
                raise UserCodeError(f"{what} gave {value!r:.80}, not a finite number")
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
