"""Rows of several tasks as one data set: those of one task after those of another, each with its
task's number. Called by the training function where a spec has `tasks`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from orchestrator.inspect.data import SplitKey
from orchestrator.specs import FineTuneSpec, training_domains
from orchestrator.specs.task_views import key_of, task_of_key, task_views
from orchestrator.worker.data.batches import PADDING
from orchestrator.worker.data.encoding import Place, RowEncoder
from orchestrator.worker.data.splits import Encode, Splits, encode_splits, table_digest
from orchestrator.worker.tasks.base import Encoded, HasParts, Task

NO_TASK = -1


class TaskRows:
    """A map-style data set; a row is its task's own, and knows the task's number."""

    def __init__(self, parts: Sequence[Encoded], tasks: Sequence[int]) -> None:
        self._parts = parts
        self._tasks = tasks
        self._ends = np.array(list(accumulate(map(len, parts))))
        self.lengths = np.concatenate([part.lengths for part in parts])
        self.targets = np.zeros(len(self.lengths))  # of several tasks: each part has its own

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == PADDING:
            return {**self._parts[0][PADDING], "task": NO_TASK}
        at = int(np.searchsorted(self._ends, index, side="right"))
        begin = int(self._ends[at - 1]) if at else 0
        return {**self._parts[at][index - begin], "task": self._tasks[at]}


def read_splits(
    spec: FineTuneSpec,
    tables: dict[SplitKey, pa.Table],
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    place: Place,
) -> Splits:
    """The splits of a job as its task encodes them, or as each of several does."""
    if not isinstance(task, HasParts):
        return encode_splits(spec, tables, RowEncoder.of(spec, task, tokenizer, place))
    encoders = {
        name: RowEncoder.of(view, task.task(name), tokenizer, place)
        for name, view in task_views(spec).items()
    }
    return encode_tasks(spec, tables, encoders)


def encode_tasks(
    spec: FineTuneSpec, tables: Mapping[SplitKey, pa.Table], encode: Mapping[str, Encode]
) -> Splits:
    """The splits of a job of several tasks: valid and test by `task/domain`.

    Args:
        spec: Resolved.
        tables: By `task/domain` and split.
        encode: By task.
    """
    views = task_views(spec)
    parts: list[Encoded] = []
    tasks: list[int] = []
    rows_of: dict[str, range] = {}
    digest = hashlib.sha256()
    end = 0
    for number, (name, view) in enumerate(views.items()):
        start = end
        for domain in training_domains(view.data):
            table = tables[key_of(name, domain), "train"]
            parts.append(encode[name](table))
            tasks.append(number)
            digest.update(f"{name}/{domain}/{table_digest(table)}\n".encode())
            end += table.num_rows
        rows_of[name] = range(start, end)
    num_rows: dict[str, dict[str, int]] = {}
    for (key, split), table in tables.items():
        num_rows.setdefault(key, {})[split] = table.num_rows
    valid, test = (_measured(tables, encode, split) for split in ("valid", "test"))
    train = TaskRows(parts, tasks)
    return Splits(train, digest.hexdigest(), rows_of, valid, test, num_rows)


def _measured(
    tables: Mapping[SplitKey, pa.Table], encode: Mapping[str, Encode], wanted: str
) -> dict[str, Encoded]:
    return {
        key: encode[task_of_key(key)](table)
        for (key, split), table in tables.items()
        if split == wanted
    }
