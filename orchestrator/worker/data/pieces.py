"""Unlabelled texts as rows of token ids: whole, cut, or in several pieces. Shared by the tasks of
pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from orchestrator.errors import InvalidInput, Problem
from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.data.tokens import Ids


class TextPieces:
    """A map-style data set of token ids; index `PADDING` is a row that does not count."""

    beside: ClassVar[tuple[str, ...]] = ()

    def __init__(self, ids: list[Ids]) -> None:
        self.ids = ids
        self.lengths = np.fromiter((len(row) for row in ids), dtype=np.int64)
        self.targets = np.zeros(len(ids))  # compared with nothing: see `token_sums`

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == PADDING:
            ids = self.ids[0][:2]
            return {"input_ids": ids, "labels": [IGNORED] * len(ids)}
        return {"input_ids": self.ids[index]}


@dataclass(frozen=True, slots=True)
class Pieces:
    """How texts become rows of at most so many tokens, special ones included."""

    max_length: int
    split: bool  # a longer text becomes several rows, else it is cut

    @property
    def version(self) -> str:
        """What a task's version ends with: rows depend on it."""
        return "" if self.split else "/cut"

    def of(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> TextPieces:
        """Each piece begins and ends with the tokens that begin and end a text."""
        if self.split and not tokenizer.is_fast:
            raise InvalidInput(
                [
                    Problem(
                        "the base's tokenizer cannot cut a text into several rows",
                        path="method.split_texts",
                        hint="write split_texts: false: texts are cut to training.max_length",
                    )
                ]
            )
        encoded = tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_length,
            return_overflowing_tokens=self.split,
        )
        return TextPieces(encoded["input_ids"])
