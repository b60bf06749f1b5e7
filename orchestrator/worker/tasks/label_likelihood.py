"""Classification by a causal model: the label whose words are likeliest after a prompt.

Each row is read once a label. What is compared is the log-likelihood of a label's words, divided by
their number of tokens, of characters, or by nothing; as lm-evaluation-harness scores choices, whose
`acc` is `none` and whose `acc_norm` is `characters`. Training is supervised: the words of the right
label are learned after the same prompt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.inspect.labels import LABEL
from orchestrator.specs import TextClassification
from orchestrator.specs.classification import TEXT, TEXT_PAIR
from orchestrator.worker.data import prompts
from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.data.orders import generator_of
from orchestrator.worker.data.tokens import Ids
from orchestrator.worker.evaluation.classification import (
    bootstrap_intervals,
    classification_metrics,
)
from orchestrator.worker.evaluation.sums import RowSums, class_sums
from orchestrator.worker.evaluation.tokens import token_loss_sum
from orchestrator.worker.models.language import causal_model

ASKED_FILE = "label_prompt.json"
BETWEEN_EXAMPLES = "\n\n"
_CUTS = 8  # a text is cut again where it is still too long once its end has new tokens

Texts = tuple[str, ...]
"""Of a row: one, or two that are read together."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row of training that is shown with its label."""

    texts: Texts
    label: str


class CandidateRows:
    """Token ids of prompts and of every label after them; a map-style data set.

    `__getitem__` gives the right label's row, which is learned, and beside it all of them, which
    are compared; index `PADDING` has rows that do not count.
    """

    def __init__(self, read: list[Ids], words: list[list[Ids]], targets: np.ndarray) -> None:
        self.read = read
        self.words = words
        self.targets = targets
        longest = [max(map(len, labels)) for labels in words]
        self.lengths = np.array([len(r) + n for r, n in zip(read, longest, strict=True)])

    def __len__(self) -> int:
        return len(self.read)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == PADDING:
            row: dict[str, Any] = {"input_ids": self.read[0][:2], "labels": [IGNORED] * 2}
            row["input_ids"] = (row["input_ids"] * 2)[:2]
            return {**row, "candidates": [dict(row) for _ in self.words[0]]}
        candidates = [_learned(self.read[index], words) for words in self.words[index]]
        return {**candidates[int(self.targets[index])], "candidates": candidates}


class LabelLikelihoodTask:
    """Scores labels by their words; `draw` gives it the examples that stand before each row."""

    version = "text-classification/likelihood/1"
    loader = "AutoModelForCausalLM"

    def __init__(self, spec: TextClassification, max_length: int) -> None:
        assert spec.labels is not None, "the plan resolves the labels"
        self.spec = spec
        self.names = spec.labels
        self.max_length = max_length
        self.examples: tuple[Example, ...] = ()
        self._ids = {name: number for number, name in enumerate(spec.labels)}

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        return causal_model(folder, dtype)

    def draw(self, train: pa.Table, key: str) -> None:
        """Draws the examples from the training rows: by the key alone, the labels in turn.

        One more than are shown, for the row that is one of them.
        """
        if not self.spec.num_shots:
            return
        generator = generator_of("shots", key)
        order = generator.permutation(train.num_rows)
        texts, labels = texts_of(train), train.column(LABEL).to_pylist()
        found: list[Example] = []
        by_label = {name: [row for row in order if labels[row] == name] for name in self.names}
        for turn in range(max(map(len, by_label.values()))):
            for name in generator.permutation(len(self.names)):
                rows = by_label[self.names[name]]
                if turn < len(rows) and texts[rows[turn]] not in [e.texts for e in found]:
                    found.append(Example(texts[rows[turn]], self.names[name]))
        self.examples = tuple(found[: self.spec.num_shots + 1])

    def write_beside(self, folder: Path) -> None:
        """How the model is to be asked, as it was measured: the spare example too."""
        document = {
            "format": 1,
            "prompt": self.spec.prompt_template,
            "words": {name: self.spec.words_of(name) for name in self.names},
            "normalization": self.spec.normalized_by,
            "examples": [{"texts": list(e.texts), "label": e.label} for e in self.examples],
        }
        text = json.dumps(document, ensure_ascii=False, indent=2)
        (folder / ASKED_FILE).write_text(text + "\n")

    def read_beside(self, folder: Path) -> None:
        """The examples that `write_beside` kept."""
        if (folder / ASKED_FILE).exists():
            found = json.loads((folder / ASKED_FILE).read_text())["examples"]
            self.examples = tuple(Example(tuple(e["texts"]), e["label"]) for e in found)

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> CandidateRows:
        """Prompts of at most `max_length` tokens with the longest label, and so each example."""
        return self.rows(texts_of(table), table.column(LABEL).to_pylist(), tokenizer)

    def rows(
        self, texts: Sequence[Texts], labels: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> CandidateRows:
        before = [self._shown(row, tokenizer) for row in texts]
        own = [self._prompt(row, tokenizer) for row in texts]
        whole = [shown + prompt for shown, prompt in zip(before, own, strict=True)]
        read = _encoded([prompt.rstrip() for prompt in whole], tokenizer)
        words: list[list[Ids]] = [[] for _ in whole]
        for name in self.names:
            answered = _encoded([f"{p}{self._answer(p, name)}" for p in whole], tokenizer)
            for row, (ids, all_of_it) in enumerate(zip(read, answered, strict=True)):
                words[row].append(all_of_it[len(ids) :] or all_of_it[-1:])
        targets = np.fromiter((self._ids[label] for label in labels), dtype=np.int64)
        return CandidateRows(read, words, targets)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        """The right labels, to be learned."""
        return prompts.causal_batch(rows, tokenizer)

    def collate_candidates(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        """All labels of all rows, (rows x labels, tokens), to be compared."""
        return prompts.causal_batch([c for row in rows for c in row["candidates"]], tokenizer)

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return token_loss_sum(*prompts.shifted(outputs, labels))

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """(rows, labels): the score of each label, of what `collate_candidates` made."""
        logits, wanted = prompts.shifted(outputs, labels)
        counts = wanted != IGNORED
        told = logits[counts].float().log_softmax(dim=-1)
        of_tokens = told.gather(1, wanted[counts].unsqueeze(1)).squeeze(1)
        at = torch.arange(len(wanted), device=wanted.device).unsqueeze(1).expand_as(wanted)[counts]
        sums = torch.zeros(len(wanted), device=wanted.device).index_add(0, at, of_tokens)
        return (sums / self._divisors(counts)).view(-1, len(self.names))

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return classification_metrics(predictions, labels, self.names)

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return class_sums(predictions.argmax(axis=1), labels, len(self.names))

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return bootstrap_intervals(predictions, labels, len(self.names), num_samples, seed)

    def _divisors(self, counts: torch.Tensor) -> torch.Tensor:
        tokens = counts.sum(dim=1).clamp(min=1)
        if self.spec.normalized_by == "tokens":
            return tokens
        if self.spec.normalized_by == "none":
            return torch.ones_like(tokens)
        characters = [len(self.spec.words_of(name)) for name in self.names]
        return torch.tensor(characters, device=counts.device).repeat(len(tokens) // len(characters))

    def _shown(self, texts: Texts, tokenizer: PreTrainedTokenizerBase) -> str:
        """The examples before a row, of which it is none itself."""
        shown = [example for example in self.examples if example.texts != texts]
        parts = []
        for example in shown[: self.spec.num_shots]:
            prompt = self._prompt(example.texts, tokenizer)
            parts.append(f"{prompt}{self._answer(prompt, example.label)}{BETWEEN_EXAMPLES}")
        return "".join(parts)

    def _prompt(self, texts: Texts, tokenizer: PreTrainedTokenizerBase) -> str:
        """The prompt with texts that are cut, the longest first, until the longest label fits."""
        for _ in range(_CUTS):
            prompt = self.spec.prompt_of(texts)
            longest = max(
                len(ids)
                for ids in _encoded(
                    [f"{prompt}{self._answer(prompt, name)}" for name in self.names], tokenizer
                )
            )
            if longest <= self.max_length:
                return prompt
            texts = _shorter(texts, longest - self.max_length, tokenizer)
        return self.spec.prompt_of(texts)

    def _answer(self, prompt: str, name: str) -> str:
        """A label's words after a prompt, with a space between them where it ends in none."""
        return f"{'' if prompt[-1:].isspace() else ' '}{self.spec.words_of(name)}"


def texts_of(table: pa.Table) -> list[Texts]:
    roles = [role for role in (TEXT, TEXT_PAIR) if role in table.column_names]
    return list(zip(*(table.column(role).to_pylist() for role in roles), strict=True))


def _shorter(texts: Texts, tokens: int, tokenizer: PreTrainedTokenizerBase) -> Texts:
    """Without so many tokens at the end of the longest text."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    at = max(range(len(texts)), key=lambda number: len(ids[number]))
    kept = len(ids[at]) - tokens
    # Where the tokens that are kept end is told by the text they make, whatever the tokenizer.
    share = max(kept, 0) / max(len(ids[at]), 1)
    text = texts[at]
    end = int(len(text) * share)
    while end and len(tokenizer(text[:end], add_special_tokens=False)["input_ids"]) > kept:
        end -= max(1, end // 16)
    return tuple(text[:end].rstrip() if number == at else t for number, t in enumerate(texts))


def _encoded(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[Ids]:
    """With the tokens that begin a text and none that ends it."""
    encoded: list[Ids] = tokenizer(list(texts))["input_ids"]
    end = tokenizer.eos_token_id
    return [ids[:-1] if len(ids) > 1 and ids[-1] == end else ids for ids in encoded]


def _learned(read: Ids, words: Ids) -> dict[str, Ids]:
    return {"input_ids": read + words, "labels": [IGNORED] * len(read) + words}
