"""Padding rows of token ids to one rectangle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase


def pad_rows(
    rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase
) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` of (rows, longest row), padded on the tokenizer's side."""
    longest = max(len(row) for row in rows)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    left = tokenizer.padding_side == "left"
    input_ids = torch.full((len(rows), longest), int(pad or 0), dtype=torch.long)
    attention_mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        input_ids[number, where] = torch.tensor(row, dtype=torch.long)
        attention_mask[number, where] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def pad_like(attention_mask: torch.Tensor, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Further values of the tokens that a mask of `pad_rows` shows, and 0 beside them."""
    padded = torch.zeros_like(attention_mask)
    padded[attention_mask.bool()] = torch.tensor(
        [value for row in rows for value in row], dtype=padded.dtype
    )
    return padded
