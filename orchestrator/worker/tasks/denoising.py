"""Denoising: an encoder-decoder reads texts with hidden spans and writes what was hidden.

What is published is a base: translation and summarization go on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.specs import Denoising
from orchestrator.worker.data.noise import (
    FilledSpans,
    Noise,
    NoisyRows,
    NumberedSpans,
    mask_id,
    sentinel_ids,
    special_ids,
)
from orchestrator.worker.data.pieces import Pieces, TextPieces
from orchestrator.worker.data.seq2seq import decoder_start_of, encoder_decoder_batch
from orchestrator.worker.evaluation.tokens import TokenFigures
from orchestrator.worker.models.language import seq2seq_model
from orchestrator.worker.tasks.base import Encoded


class DenoisingTask(TokenFigures):
    """Learns the hidden spans (`spans`), or the whole text around them (`infill`)."""

    loader = "AutoModelForSeq2SeqLM"

    def __init__(self, spec: Denoising, base: Path, pieces: Pieces, seed: int) -> None:
        """
        Args:
            spec: The task, resolved.
            base: Folder of the base.
            pieces: How texts become rows.
            seed: Of what is hidden.
        """
        assert spec.masked_share is not None, "the plan resolves it"
        self.spec = spec
        self.share = spec.masked_share
        self.pieces = pieces
        self.seed = seed
        self.start_id = decoder_start_of(base)
        self.version = f"denoising/1{pieces.version}"

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return seq2seq_model(folder, dtype)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> TextPieces:
        return self.pieces.of(table.column("text").to_pylist(), tokenizer)

    def hidden(self, rows: Encoded, tokenizer: PreTrainedTokenizerBase) -> NoisyRows:
        return NoisyRows(rows, self._noise(tokenizer), self.seed)

    def _noise(self, tokenizer: PreTrainedTokenizerBase) -> Noise:
        special, mean = special_ids(tokenizer), self.spec.mean_span
        if self.spec.objective == "spans":
            return NumberedSpans(self.share, mean, sentinel_ids(tokenizer), special)
        return FilledSpans(self.share, mean, mask_id(tokenizer), special)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        return encoder_decoder_batch(rows, tokenizer, self.start_id)
