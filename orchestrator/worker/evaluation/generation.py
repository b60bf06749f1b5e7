"""Texts a model writes for the first rows of a test split, dealt to the ranks of a gang.

Done with whole weights on every rank, at the end and once before: a phase of its own, since a
written token costs as much as a whole row that is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from orchestrator.specs import GenerationSpec
from orchestrator.worker.data.tokens import attention_mask, pad_id, padded
from orchestrator.worker.evaluation.texts import Texts
from orchestrator.worker.gang import Gang
from orchestrator.worker.tasks.base import EncodedTexts


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes texts after prompts; also what `orchestrator predict` uses."""

    model: Any  # transformers' own, or PEFT's around one
    tokenizer: PreTrainedTokenizerBase
    settings: GenerationSpec
    after_prompt: bool
    """Whether the model's output begins with what it read, as a causal model's does."""

    def write(self, prompts: Sequence[list[int]]) -> list[str]:
        """One text a prompt, in order; prompts of like length share a batch."""
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        texts: dict[int, str] = {}
        size = self.settings.batch_size
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            written = self._batch([prompts[index] for index in chosen])
            texts.update(zip(chosen, written, strict=True))
        return [texts[index] for index in range(len(prompts))]

    def _batch(self, prompts: Sequence[list[int]]) -> list[str]:
        left = self.after_prompt  # what is written must follow the prompt at once
        inputs = padded(prompts, pad_id(self.tokenizer), left=left).to(self.model.device)
        mask = attention_mask(prompts, left=left).to(self.model.device)
        with torch.no_grad():
            written = self.model.generate(
                input_ids=inputs, attention_mask=mask, generation_config=self._config()
            )
        if self.after_prompt:
            written = written[:, inputs.shape[1] :]
        texts: list[str] = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _config(self) -> GenerationConfig:
        """The model's own tokens that begin and end a text, and the spec's way of searching."""
        own, settings = self.model.generation_config, self.settings
        assert own is not None, "a model that writes has one"
        target = getattr(self.tokenizer, "tgt_lang", None)
        forced = own.forced_bos_token_id
        if target is not None:  # a multilingual decoder is told its language first
            forced = self.tokenizer.convert_tokens_to_ids(target)
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=settings.max_new_tokens,
            num_beams=settings.num_beams,
            length_penalty=settings.length_penalty,
            early_stopping=settings.num_beams > 1,
            no_repeat_ngram_size=settings.no_repeat_ngram_size,
            do_sample=False,
            pad_token_id=pad_id(self.tokenizer),
            bos_token_id=own.bos_token_id,
            eos_token_id=own.eos_token_id
            if own.eos_token_id is not None
            else self.tokenizer.eos_token_id,
            decoder_start_token_id=own.decoder_start_token_id,
            forced_bos_token_id=forced,
        )


def written_texts(writer: Writer, gang: Gang, encoded: EncodedTexts) -> Texts:
    """Of the split's chosen rows, on every rank."""
    rows = chosen_rows(len(encoded), writer.settings.max_samples)
    mine = rows[gang.rank :: gang.world_size]
    texts = writer.write([encoded.prompts[int(row)] for row in mine])
    found = dict(
        pair for part in gang.gather(list(zip(mine.tolist(), texts, strict=True))) for pair in part
    )
    chosen: list[int] = rows.tolist()
    return Texts(
        [found[row] for row in chosen],
        [encoded.references[row] for row in chosen],
        [encoded.sources[row] for row in chosen],
    )


def chosen_rows(num_rows: int, most: int) -> np.ndarray:
    """At most so many rows, evenly spread: files are often sorted."""
    if num_rows <= most:
        return np.arange(num_rows)
    return np.linspace(0, num_rows - 1, most).round().astype(int)
