"""Causal language modelling: plain text, prompts with completions, or chats."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.messages import LEARNED, messages_of
from orchestrator.specs import CausalLm
from orchestrator.specs.task import MESSAGES
from orchestrator.worker.data import prompts
from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.data.tokens import Ids, TokenRows
from orchestrator.worker.evaluation.sums import RowSums, token_row_sums
from orchestrator.worker.evaluation.tokens import NextTokenFigures
from orchestrator.worker.models.language import causal_model


class CausalLmTask(NextTokenFigures):
    """Learns the next token: of whole texts, of completions, or of what the assistant says."""

    loader = "AutoModelForCausalLM"

    def __init__(self, spec: CausalLm, max_length: int, *, split: bool = False) -> None:
        """
        Args:
            spec: The task.
            max_length: Tokens of a row, at most.
            split: Whether a longer text becomes several rows instead of being cut.
        """
        self.rows = spec.rows
        self.max_length = max_length
        self.split = split
        self.version = "causal-lm/1/split" if split else "causal-lm/1"

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return causal_model(folder, dtype)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> TokenRows:
        """Rows of at most `max_length` tokens."""
        if self.rows == "chat":
            chats = [messages_of(text) for text in table.column(MESSAGES).to_pylist()]
            return TokenRows(*_chats(chats, tokenizer, self.max_length))
        if self.rows == "completion":
            return self._completions(table, tokenizer)
        texts: list[str] = table.column("text").to_pylist()
        return TokenRows(*prompts.whole(self._texts(texts, tokenizer)))

    def _texts(self, texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[Ids]:
        """From the token that begins a text to the one that ends it; each piece begins so."""
        start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        if not self.split:
            whole = prompts.continuation_ids(texts, tokenizer, self.max_length)
            return [_at_least_two([*start, *ids][: self.max_length]) for ids in whole]
        room = self.max_length - len(start)
        return [
            _at_least_two([*start, *ids[at : at + room]])
            for ids in prompts.continuation_ids(texts, tokenizer, sys.maxsize)
            for at in range(0, max(len(ids), 1), room)
        ]

    def _completions(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> TokenRows:
        read = prompts.prompt_ids(table.column("prompt").to_pylist(), tokenizer, self.max_length)
        completions = prompts.continuation_ids(
            table.column("completion").to_pylist(), tokenizer, self.max_length
        )
        inputs, labels = prompts.continued(read, completions)
        inputs = [ids[: self.max_length] for ids in inputs]
        return TokenRows(inputs, [ids[: self.max_length] for ids in labels])

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        return prompts.causal_batch(rows, tokenizer)

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return token_row_sums(predictions)


def _chats(
    chats: Sequence[list[dict[str, str]]], tokenizer: PreTrainedTokenizerBase, limit: int
) -> tuple[list[Ids], list[Ids]]:
    """Chats in the model's template; what each message of the assistant adds is learned.

    What a message adds is the template's text up to it without the text up to its predecessor,
    which also holds for templates that do not mark what the assistant says.
    """
    if tokenizer.chat_template is None:
        raise InvalidInput(
            [
                Problem(
                    "the base has no chat template",
                    path="task.rows",
                    hint="choose a base for chats, or write rows: completion",
                )
            ]
        )
    inputs, labels = [], []
    for chat in chats:
        ids: Ids = []
        learned: Ids = []
        before = ""
        for number, message in enumerate(chat, start=1):
            is_learned = message["role"] == LEARNED
            if is_learned:  # the words that open its turn are read
                opened = _templated(tokenizer, chat[: number - 1], opens=True)
                before = _extend(ids, learned, before, opened, tokenizer, is_learned=False)
            text = _templated(tokenizer, chat[:number], opens=False)
            before = _extend(ids, learned, before, text, tokenizer, is_learned=is_learned)
        inputs.append(_at_least_two(ids[:limit]))
        labels.append([IGNORED, *_at_least_two(learned[:limit])[1:]])
    return inputs, labels


def _templated(
    tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]], *, opens: bool
) -> str:
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=opens)
    assert isinstance(text, str)
    return text


def _extend(
    ids: Ids,
    learned: Ids,
    before: str,
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    is_learned: bool,
) -> str:
    """Adds the tokens of what `text` has beyond `before`; the longer text."""
    if not text.startswith(before):  # a template that rewrites what was said before
        raise InvalidInput(
            [
                Problem(
                    "the base's chat template changes earlier messages as a chat goes on, so what "
                    "the assistant says cannot be told apart",
                    path="task.rows",
                    hint="write rows: completion, or choose another base",
                )
            ]
        )
    added: Ids = tokenizer(text[len(before) :], add_special_tokens=False)["input_ids"]
    ids += added
    learned += added if is_learned else [IGNORED] * len(added)
    return text


def _at_least_two(ids: Ids) -> Ids:
    """A row of one token would predict nothing: it is doubled."""
    return ids if len(ids) > 1 else [*ids, *ids]
