"""Masked language modelling: an encoder finds hidden tokens of unlabelled texts.

What is published is a base: other tasks put their own heads on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.specs import MaskedLm
from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.data.noise import MaskedTokens, NoisyRows, mask_id, special_ids
from orchestrator.worker.data.pieces import Pieces, TextPieces
from orchestrator.worker.data.tokens import attention_mask, pad_id, padded
from orchestrator.worker.evaluation.tokens import TokenFigures
from orchestrator.worker.models.language import masked_model
from orchestrator.worker.tasks.base import Encoded


class MaskedLmTask(TokenFigures):
    """Learns the hidden tokens; the labels stand where they were."""

    loader = "AutoModelForMaskedLM"

    def __init__(self, spec: MaskedLm, pieces: Pieces, seed: int) -> None:
        """
        Args:
            spec: The task.
            pieces: How texts become rows.
            seed: Of what is hidden.
        """
        self.spec = spec
        self.pieces = pieces
        self.seed = seed
        self.version = f"masked-lm/1{pieces.version}"

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return masked_model(folder, dtype)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> TextPieces:
        return self.pieces.of(table.column("text").to_pylist(), tokenizer)

    def hidden(self, rows: Encoded, tokenizer: PreTrainedTokenizerBase) -> NoisyRows:
        special = special_ids(tokenizer)
        noise = MaskedTokens(
            share=self.spec.masked_share,
            mask_id=mask_id(tokenizer),
            special=special,
            ordinary=np.array(sorted(set(range(len(tokenizer))) - special)),
        )
        return NoisyRows(rows, noise, self.seed)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        inputs = [row["input_ids"] for row in rows]
        return {
            "input_ids": padded(inputs, pad_id(tokenizer)),
            "attention_mask": attention_mask(inputs),
            "labels": padded([row["labels"] for row in rows], IGNORED),
        }
