"""Several tasks over one base: batches hold rows of all of them, the loss counts each by its share.

The loss of a step is a function of its whole global batch: with n_t of N rows and the mean loss L_t
of task t over them it is the sum of n_t / N · w_t · L_t, so that sampling says how much a task
counts, and a task of the job's one kind alone would learn as in a job of its own. With
uncertainties (Kendall et al. 2018, arXiv:1705.07115) w_t · L_t becomes exp(-s_t) · L_t + s_t / 2,
where s_t is learned.

Labels have a first column with the row's task. Built by `task_for` from the tasks it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.models.shared import LOGITS, UNCERTAINTIES, SharedModel
from orchestrator.worker.tasks.base import Counts, Encoded, Task


@dataclass(frozen=True, slots=True)
class Logits:
    """What one task's loss and predictions read of the shared model's output."""

    logits: torch.Tensor


class SeveralTasks:
    """The tasks of one job, in the order of the spec."""

    def __init__(
        self, tasks: Mapping[str, Task], weights: Sequence[float], *, own_heads: bool
    ) -> None:
        """Args:
        tasks: By name.
        weights: What each loss counts.
        own_heads: Whether each task has a head of its own; else all have that of the base.
        """
        self.names = tuple(tasks)
        self.tasks = tuple(tasks.values())
        self.weights = tuple(weights)
        self.own_heads = own_heads
        self.version = "multi-task/1: " + ", ".join(task.version for task in self.tasks)
        self.loader = self.tasks[0].loader

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        """The base of a folder under all heads; what is published is built task by task."""
        tasks = self.tasks if self.own_heads else self.tasks[:1]
        names = self.names if self.own_heads else ()
        wholes = [task.build_model(folder, dtype) for task in tasks]
        return SharedModel(wholes, names, len(self.tasks))

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> Encoded:
        raise AssertionError("rows are encoded by the task they are of: see `data.task_rows`")

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        """As the tasks do, which have one kind of rows; `labels` get a first column."""
        batch = self.tasks[0].collate(rows, tokenizer)
        labels = batch["labels"].reshape(len(rows), -1)
        which = torch.tensor([[row["task"]] for row in rows], dtype=labels.dtype)
        batch["labels"] = torch.cat([which, labels], dim=1)
        return batch

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        """(2 x tasks): what each task's loss is divided by, then the rows of each."""
        divisors = [
            task.counted(own) if isinstance(task, Counts) else (own != IGNORED).sum()
            for task, own in self._own_labels(labels)
        ]
        rows = [(labels[:, 0] == number).sum() for number in range(len(self.tasks))]
        return torch.stack([value.to(torch.float64).cpu() for value in (*divisors, *rows)])

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("several losses are not one sum: see `loss_share`")

    def loss_share(self, outputs: Any, labels: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """What these rows contribute to the loss of the step whose `counted` is given."""
        size = len(self.tasks)
        divisors, rows = counted[:size], counted[size:]
        total = torch.zeros((), device=labels.device)
        for number, (task, own) in enumerate(self._own_labels(labels)):
            summed = task.loss_sum(self.outputs_of(number, outputs), own)
            # All heads take part, also those whose rows are in other micro-batches.
            share = (rows[number] / rows.sum()).float()
            mean = summed / divisors[number].clamp(min=torch.finfo(torch.float32).tiny).float()
            if UNCERTAINTIES not in outputs:
                total = total + share * self.weights[number] * mean
                continue
            s = outputs[UNCERTAINTIES][number].float()
            here = (labels[:, 0] == number).sum() / rows[number].clamp(min=1)
            total = total + share * (torch.exp(-s) * mean + 0.5 * s * here.float())
        return total

    def outputs_of(self, number: int, outputs: Any) -> Logits:
        return Logits(outputs[LOGITS.format(number if self.own_heads else 0)])

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a split is of one task: see `part`")

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        raise AssertionError("a split is of one task: see `part`")

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        raise AssertionError("a split is of one task: see `part`")

    def task(self, name: str) -> Task:
        return self.tasks[self.names.index(name)]

    def part(self, name: str) -> Part:
        """One task as the shared model is evaluated on a split of it."""
        return Part(self, self.names.index(name))

    def _own_labels(self, labels: torch.Tensor) -> list[tuple[Task, torch.Tensor]]:
        """Each task with the labels of its rows; those of others are ignored."""
        found = []
        for number, task in enumerate(self.tasks):
            own = torch.where(labels[:, :1] == number, labels[:, 1:], IGNORED)
            found.append((task, own.squeeze(1) if self.own_heads else own))
        return found


class Part:
    """One of several tasks, on the shared model: its own labels, metrics and head."""

    def __init__(self, several: SeveralTasks, number: int) -> None:
        self._several = several
        self._number = number
        self._task = several.tasks[number]
        self.version = self._task.version
        self.loader = self._task.loader

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return self._task.build_model(folder, dtype)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> Encoded:
        return self._task.encode(table, tokenizer)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        return self._task.collate(rows, tokenizer)

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return self._task.loss_sum(self._own(outputs), labels)

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return self._task.predictions(self._own(outputs), labels)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return self._task.metrics(predictions, labels)

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return self._task.intervals(predictions, labels, num_samples, seed)

    def _own(self, outputs: Any) -> Logits:
        return self._several.outputs_of(self._number, outputs)
