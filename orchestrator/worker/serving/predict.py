"""Labels with probabilities from a published model's folder; called by `orchestrator predict`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from orchestrator.errors import UserError
from orchestrator.worker.data.collating import pad_rows
from orchestrator.worker.models.loading import load_tokenizer, on_device

DEFAULT_MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable label of one text, and the probability of every label."""

    label: str
    probabilities: dict[str, float]


class Predictor:
    """A classifier ready to answer; `load` reads safetensors and runs no code of the folder."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = on_device(model, self.device)
        self._tokenizer = tokenizer
        self._max_length = max_length

    @classmethod
    def load(cls, folder: Path, max_length: int | None = None) -> Predictor:
        """Reads a model folder.

        Args:
            folder: A published version, pulled.
            max_length: Tokens a text is cut to; absent: the longest the model takes, at most 512.

        Raises UserError where it is no text classifier: scripts publish what they like.
        """
        _check_classifier(folder)
        tokenizer = load_tokenizer(folder)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        longest = min(
            tokenizer.model_max_length,
            getattr(model.config, "max_position_embeddings", DEFAULT_MAX_LENGTH),
            DEFAULT_MAX_LENGTH,
        )
        return cls(model, tokenizer, max_length or longest)

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the model's outputs."""
        names: dict[int, str] = self._model.config.id2label  # type: ignore[assignment]
        return tuple(names[number] for number in sorted(names))

    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> list[Prediction]:
        """One Prediction a text, in order; texts of like length share a batch."""
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self._max_length)
        token_ids: list[list[int]] = encoded["input_ids"]
        order = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]))
        found: dict[int, Prediction] = {}
        for batch in _chunks(order, batch_size):
            rows = pad_rows([token_ids[index] for index in batch], self._tokenizer)
            with torch.no_grad():
                inputs = {key: value.to(self.device) for key, value in rows.items()}
                logits = self._model(**inputs).logits.float()
            for index, row in zip(batch, logits.softmax(dim=-1).tolist(), strict=True):
                found[index] = self._prediction(row)
        return [found[index] for index in range(len(token_ids))]

    def _prediction(self, row: list[float]) -> Prediction:
        probabilities = dict(zip(self.labels, row, strict=True))
        return Prediction(max(probabilities, key=probabilities.__getitem__), probabilities)


def _check_classifier(folder: Path) -> None:
    try:
        kinds = json.loads((folder / "config.json").read_text()).get("architectures") or ()
    except (OSError, ValueError, AttributeError):
        kinds = ()
    if not any(str(kind).endswith("ForSequenceClassification") for kind in kinds):
        raise UserError(
            "this model is no text classifier of the transformers library",
            hint="`orchestrator models pull` brings its files; its code knows how to use them",
        )


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
