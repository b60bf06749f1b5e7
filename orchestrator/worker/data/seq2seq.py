"""Batches of encoder-decoders: what is read, what is written. Shared by tasks that have both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.data.tokens import attention_mask, pad_id, padded


def decoder_start(config: Any) -> int:
    """The token a decoder begins with."""
    start = config.decoder_start_token_id
    if start is None:
        start = config.bos_token_id if config.bos_token_id is not None else config.pad_token_id
    return int(start)


def decoder_start_of(folder: Path) -> int:
    """As `decoder_start`, of the model in a folder."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return decoder_start(config)


def encoder_decoder_batch(
    rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, start_id: int
) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and `labels`, and `decoder_input_ids`: the labels one place to
    the right, behind the token that begins them."""
    inputs, labels = [row["input_ids"] for row in rows], [row["labels"] for row in rows]
    pad = pad_id(tokenizer)
    fed = [[start_id, *(pad if i == IGNORED else i for i in row[:-1])] for row in labels]
    return {
        "input_ids": padded(inputs, pad),
        "attention_mask": attention_mask(inputs),
        "decoder_input_ids": padded(fed, pad),
        "labels": padded(labels, IGNORED),
    }
