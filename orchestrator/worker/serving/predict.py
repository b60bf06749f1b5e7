"""Labels, sets of labels or numbers from a published folder; called by `orchestrator predict`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from orchestrator.errors import UserError
from orchestrator.specs import TextClassification
from orchestrator.specs.classification import DEFAULT_THRESHOLD
from orchestrator.storage.adapters import LINEAGE_FILE
from orchestrator.worker.data.collating import pad_like, pad_rows
from orchestrator.worker.models.loading import load_tokenizer, on_device
from orchestrator.worker.serving.base import Text
from orchestrator.worker.tasks.text_classification import (
    SEGMENTS,
    LabelSet,
    OneNumber,
    answers_of,
)

DEFAULT_MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable label of one text, and the probability of every label."""

    label: str
    probabilities: dict[str, float]

    def fields(self) -> dict[str, Any]:
        """What a row is written out with."""
        return {
            "predicted_label": self.label,
            "probability": self.probabilities[self.label],
            "probabilities": self.probabilities,
        }


@dataclass(frozen=True, slots=True)
class SetPrediction:
    """The labels of one text, the likeliest first, and the probability of every label."""

    labels: tuple[str, ...]
    probabilities: dict[str, float]

    def fields(self) -> dict[str, Any]:
        """What a row is written out with."""
        return {"predicted_labels": list(self.labels), "probabilities": self.probabilities}


@dataclass(frozen=True, slots=True)
class NumberPrediction:
    """The number of one text."""

    value: float

    def fields(self) -> dict[str, Any]:
        """What a row is written out with."""
        return {"predicted_value": self.value}


AnyPrediction = Prediction | SetPrediction | NumberPrediction


class Predictor:
    """A classifier ready to answer; `load` reads safetensors and runs no code of the folder."""

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        threshold: float = DEFAULT_THRESHOLD,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = on_device(model, self.device)
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._threshold = threshold

    @classmethod
    def load(
        cls,
        folder: Path,
        max_length: int | None = None,
        base: Path | None = None,
        threshold: float | None = None,
    ) -> Predictor:
        """Reads a model folder.

        Args:
            folder: A published version, pulled.
            max_length: Tokens a text is cut to; absent: the longest the model takes, at most 512.
            base: Of an adapter, the whole model it belongs to.
            threshold: From which a label of several is given; absent: 0.5.

        Raises UserError where it is no text classifier: scripts publish what they like.
        """
        if base is None:
            _check_classifier(folder)
        tokenizer = load_tokenizer(folder)
        model = _whole(folder) if base is None else _adapted(folder, base)
        longest = min(
            tokenizer.model_max_length,
            getattr(model.config, "max_position_embeddings", DEFAULT_MAX_LENGTH),
            DEFAULT_MAX_LENGTH,
        )
        return cls(model, tokenizer, max_length or longest, threshold or DEFAULT_THRESHOLD)

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the model's outputs."""
        names: dict[int, str] = self._model.config.id2label  # type: ignore[union-attr,assignment]
        return tuple(names[number] for number in sorted(names))

    def predict(self, texts: Sequence[Text], *, batch_size: int = 32) -> list[AnyPrediction]:
        """One answer a text or a pair of texts, in order; those of like length share a batch."""
        if not texts:
            return []
        encoded = self._encoded(texts)
        token_ids: list[list[int]] = encoded["input_ids"]
        order = sorted(range(len(token_ids)), key=lambda index: len(token_ids[index]))
        found: dict[int, AnyPrediction] = {}
        for batch in _chunks(order, batch_size):
            rows = pad_rows([token_ids[index] for index in batch], self._tokenizer)
            if SEGMENTS in encoded:
                segments = [encoded[SEGMENTS][index] for index in batch]
                rows[SEGMENTS] = pad_like(rows["attention_mask"], segments)
            with torch.no_grad():
                inputs = {key: value.to(self.device) for key, value in rows.items()}
                logits = self._model(**inputs).logits.float()
            for index, row in zip(batch, logits, strict=True):
                found[index] = self._prediction(row)
        return [found[index] for index in range(len(token_ids))]

    def _encoded(self, texts: Sequence[Text]) -> dict[str, list[list[int]]]:
        """Token ids, and of pairs which text a token is of, where the tokenizer tells."""
        how: dict[str, Any] = {"truncation": True, "max_length": self._max_length}
        if isinstance(texts[0], str):
            return {"input_ids": self._tokenizer(list(texts), **how)["input_ids"]}
        first, second = ([pair[at] for pair in texts] for at in (0, 1))
        encoded = self._tokenizer(first, second, **how)
        return {key: encoded[key] for key in ("input_ids", SEGMENTS) if key in encoded}

    def _prediction(self, logits: torch.Tensor) -> AnyPrediction:
        kind = getattr(self._model.config, "problem_type", None)
        if kind == OneNumber.problem_type:
            return NumberPrediction(float(logits[0]))
        is_set = kind == LabelSet.problem_type
        chances = logits.sigmoid() if is_set else logits.softmax(dim=-1)
        probabilities = dict(zip(self.labels, chances.tolist(), strict=True))
        if is_set:
            by_chance = sorted(probabilities, key=lambda name: -probabilities[name])
            given = [name for name in by_chance if probabilities[name] >= self._threshold]
            return SetPrediction(tuple(given), probabilities)
        return Prediction(max(probabilities, key=probabilities.__getitem__), probabilities)


def _whole(folder: Path, **config: Any) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, **config
    )
    return model


def _adapted(folder: Path, base: Path) -> torch.nn.Module:
    """The adapter beside its base; its labels are told by the lineage alone."""
    from peft import PeftModel

    lineage = json.loads((folder / LINEAGE_FILE).read_bytes())
    task = lineage["spec"]["resolved"]["spec"]["task"]
    answers = answers_of(TextClassification.model_validate(task))
    with _unheard():
        whole = _whole(
            base,
            num_labels=len(answers.names),
            id2label=dict(enumerate(answers.names)),
            label2id={name: number for number, name in enumerate(answers.names)},
            problem_type=answers.problem_type,
            ignore_mismatched_sizes=True,
        )
        model: torch.nn.Module = PeftModel.from_pretrained(whole, folder, torch_device="cpu")
    return model


@contextmanager
def _unheard() -> Iterator[None]:
    """Without the report that the base lacks a head, which the adapter brings."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of PEFT's, about transformers' names
            yield
    finally:
        logging.set_verbosity(before)


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
