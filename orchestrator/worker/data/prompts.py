"""Rows of a causal model: what it reads, what it learns to write after it.

Shared by the tasks of causal models. Labels stand where the tokens are that they name; the first
token of a row, which nothing predicts, never counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.data.tokens import Ids, attention_mask, pad_id, padded


def prompt_ids(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, limit: int, ending: str = ""
) -> list[Ids]:
    """Texts with the tokens that begin a text and none that ends it.

    Args:
        texts: What is read.
        tokenizer: The base's.
        limit: Tokens of a prompt, at most; the text is cut, its ending never.
        ending: What follows every text.
    """
    last: Ids = tokenizer(ending, add_special_tokens=False)["input_ids"] if ending else []
    room = max(limit - len(last), 1)
    encoded: list[Ids] = tokenizer(list(texts), truncation=True, max_length=room)["input_ids"]
    end = tokenizer.eos_token_id
    return [(ids[:-1] if len(ids) > 1 and ids[-1] == end else ids) + last for ids in encoded]


def continuation_ids(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, limit: int
) -> list[Ids]:
    """Texts that follow something, with the token that ends a text, cut with it to `limit`."""
    encoded: list[Ids] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    return [ids[: limit - len(end)] + end for ids in encoded]


def continued(prompts: Sequence[Ids], continuations: Sequence[Ids]) -> tuple[list[Ids], list[Ids]]:
    """(inputs, labels): prompts are read, what follows is learned."""
    pairs = list(zip(prompts, continuations, strict=True))
    inputs = [prompt + rest for prompt, rest in pairs]
    labels = [[IGNORED] * len(prompt) + rest for prompt, rest in pairs]
    return inputs, [_without_first(row) for row in labels]


def whole(texts: Sequence[Ids]) -> tuple[list[Ids], list[Ids]]:
    """(inputs, labels) where every token but the first is learned."""
    return list(texts), [_without_first(row) for row in texts]


def causal_batch(
    rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and `labels` of (rows, tokens), filled up on the right."""
    inputs = [row["input_ids"] for row in rows]
    return {
        "input_ids": padded(inputs, pad_id(tokenizer)),
        "attention_mask": attention_mask(inputs),
        "labels": padded([row["labels"] for row in rows], IGNORED),
    }


def shifted(outputs: Any, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits beside the labels they predict: those of the token before each."""
    return outputs.logits[:, :-1], labels[:, 1:]


def _without_first(labels: Ids) -> Ids:
    return [IGNORED, *labels[1:]]
