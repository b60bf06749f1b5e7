"""Rows of token ids whose labels are token ids too, and their batches. Shared by the tasks that
predict tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from orchestrator.worker.data.batches import IGNORED, PADDING

Ids = list[int]


@dataclass
class TokenRows:
    """A map-style data set; index `PADDING` is a row of two tokens that does not count."""

    inputs: list[Ids]
    labels: list[Ids]
    beside: ClassVar[tuple[str, ...]] = ("prompts", "references", "sources")
    prompts: list[Ids] = field(default_factory=list)  # what is read before a text is written
    references: list[str] = field(default_factory=list)  # what should be written
    sources: list[str] = field(default_factory=list)  # what is translated or summarized

    def __post_init__(self) -> None:
        self.lengths = np.array(
            [len(i) + len(o) for i, o in zip(self.inputs, self.labels, strict=True)],
            dtype=np.int64,
        )
        self.targets = np.zeros(len(self.inputs))  # compared with nothing: see `token_sums`

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == PADDING:
            return {"input_ids": self.inputs[0][:2], "labels": [IGNORED, IGNORED]}
        return {"input_ids": self.inputs[index], "labels": self.labels[index]}


def padded(rows: Sequence[Sequence[int]], value: int, *, left: bool = False) -> torch.Tensor:
    """(rows, longest row), filled up with `value` on the right or the left."""
    longest = max(len(row) for row in rows)
    filled = torch.full((len(rows), longest), value, dtype=torch.long)
    for number, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        filled[number, where] = torch.tensor(row, dtype=torch.long)
    return filled


def attention_mask(rows: Sequence[Sequence[int]], *, left: bool = False) -> torch.Tensor:
    """1 where `padded` has a token of the row."""
    return padded([[1] * len(row) for row in rows], 0, left=left)


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """What fills rows up: causal models often come without one, and it never counts."""
    found = tokenizer.pad_token_id
    return int(found if found is not None else tokenizer.eos_token_id or 0)
