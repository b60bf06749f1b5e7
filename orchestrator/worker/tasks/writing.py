"""Translation and summarization: an encoder-decoder reads and writes, or a prompted causal model.

Both know the roles of their columns, what the model reads of a row, and the metrics of texts; the
kind of the base decides the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.specs import Summarization, Translation
from orchestrator.specs.task import SOURCE_PLACE, TEXT_PLACE
from orchestrator.worker.data import prompts
from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.data.seq2seq import decoder_start, encoder_decoder_batch
from orchestrator.worker.data.tokens import TokenRows
from orchestrator.worker.evaluation.sums import RowSums, token_row_sums
from orchestrator.worker.evaluation.text_sums import summarization_sums, translation_sums
from orchestrator.worker.evaluation.texts import (
    Texts,
    summarization_metrics,
    translation_metrics,
)
from orchestrator.worker.evaluation.tokens import NextTokenFigures, TokenFigures
from orchestrator.worker.models.language import causal_model, seq2seq_model

TextMetrics = Callable[[Texts, int, int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Writing:
    """What translation and summarization differ in."""

    name: str
    reads: str  # role of the column that is read
    writes: str  # and of the one that is to be written
    place: str  # of the text in a prompt
    causal_prompt: str  # where the spec has none
    figures: TextMetrics
    sums: Callable[[Sequence[str], Sequence[str]], RowSums]
    prompt: str | None
    languages: Mapping[str, str]  # of a multilingual tokenizer: its attribute -> code

    def around(self, default: str) -> tuple[str, str]:
        """What stands before and after a text in what the model reads."""
        before, after = (self.prompt or default).split(self.place)
        return before, after


def writing_of(spec: Translation | Summarization) -> Writing:
    if isinstance(spec, Translation):
        languages = {"src_lang": spec.source_language, "tgt_lang": spec.target_language}
        return Writing(
            *("translation", "source", "target", SOURCE_PLACE, f"{SOURCE_PLACE}\n=>\n"),
            figures=translation_metrics,
            sums=translation_sums,
            prompt=spec.prompt,
            languages={name: code for name, code in languages.items() if code is not None},
        )
    return Writing(
        *("summarization", "text", "summary", TEXT_PLACE, f"{TEXT_PLACE}\nTL;DR: "),
        figures=summarization_metrics,
        sums=summarization_sums,
        prompt=spec.prompt,
        languages={},
    )


def writing_task(
    spec: Translation | Summarization, base: Path, max_length: int, max_target_length: int
) -> EncoderDecoderTask | PromptedTask:
    """By the kind of the base in a folder."""
    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    writing = writing_of(spec)
    if not config.is_encoder_decoder:
        return PromptedTask(writing, max_length, max_target_length)
    return EncoderDecoderTask(writing, max_length, max_target_length, decoder_start(config))


class _WritingTask:
    """What both kinds of model share: the figures of texts."""

    def __init__(self, writing: Writing, max_length: int, max_target_length: int) -> None:
        self.writing = writing
        self.max_length = max_length
        self.max_target_length = max_target_length

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return token_row_sums(predictions)

    def text_metrics(self, texts: Texts, num_samples: int, seed: int) -> dict[str, Any]:
        return self.writing.figures(texts, num_samples, seed)

    def text_sums(self, texts: Texts) -> RowSums:
        return self.writing.sums(texts.written, texts.references)


class EncoderDecoderTask(TokenFigures, _WritingTask):
    """The encoder reads, the decoder writes."""

    writes_after_prompt = False
    loader = "AutoModelForSeq2SeqLM"

    def __init__(
        self, writing: Writing, max_length: int, max_target_length: int, start_id: int
    ) -> None:
        """
        Args:
            writing: The task.
            max_length: Tokens that are read, at most.
            max_target_length: Tokens that are written, at most.
            start_id: The token a decoder begins with.
        """
        super().__init__(writing, max_length, max_target_length)
        self.version = f"{writing.name}/encoder-decoder/1"
        self.start_id = start_id

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return seq2seq_model(folder, dtype)

    def ready(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Languages of a multilingual tokenizer: it begins and ends texts by them."""
        for attribute, code in self.writing.languages.items():
            setattr(tokenizer, attribute, code)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> TokenRows:
        before, after = self.writing.around(self.writing.place)
        sources: list[str] = table.column(self.writing.reads).to_pylist()
        read = [f"{before}{text}{after}" for text in sources]
        references: list[str] = table.column(self.writing.writes).to_pylist()
        inputs = tokenizer(read, truncation=True, max_length=self.max_length)["input_ids"]
        labels = tokenizer(
            text_target=references, truncation=True, max_length=self.max_target_length
        )
        return TokenRows(inputs, _learnable(labels["input_ids"]), inputs, references, sources)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        return encoder_decoder_batch(rows, tokenizer, self.start_id)


class PromptedTask(NextTokenFigures, _WritingTask):
    """A causal model reads the prompt and writes on."""

    writes_after_prompt = True
    loader = "AutoModelForCausalLM"

    def __init__(self, writing: Writing, max_length: int, max_target_length: int) -> None:
        super().__init__(writing, max_length, max_target_length)
        self.version = f"{writing.name}/prompted/1"

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return causal_model(folder, dtype)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> TokenRows:
        before, after = self.writing.around(self.writing.causal_prompt)
        sources: list[str] = table.column(self.writing.reads).to_pylist()
        read = [f"{before}{text}" for text in sources]
        references: list[str] = table.column(self.writing.writes).to_pylist()
        prompt_ids = prompts.prompt_ids(read, tokenizer, self.max_length, after)
        texts = prompts.continuation_ids(references, tokenizer, self.max_target_length)
        return TokenRows(*prompts.continued(prompt_ids, texts), prompt_ids, references, sources)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        return prompts.causal_batch(rows, tokenizer)


def _learnable(labels: list[list[int]]) -> list[list[int]]:
    return [row or [IGNORED] for row in labels]
