"""Text classification: a head on the base's pooled output gives classes, sets of labels or numbers.

What these three differ in is an `Answers`: targets, loss and figures. One row is one text, or two
that are read together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from orchestrator.inspect.labels import LABEL, set_of
from orchestrator.specs import TextClassification
from orchestrator.specs.classification import MULTI_LABEL, REGRESSION, TEXT, TEXT_PAIR
from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.data.collating import pad_like, pad_rows
from orchestrator.worker.evaluation.classification import (
    bootstrap_intervals,
    classification_metrics,
    softmax,
)
from orchestrator.worker.evaluation.multilabel import (
    multilabel_intervals,
    multilabel_metrics,
    sigmoid,
)
from orchestrator.worker.evaluation.regression import regression_intervals, regression_metrics
from orchestrator.worker.evaluation.sums import RowSums, class_sums, number_sums, set_sums

NUMBER = "value"
"""What a regression's one output is called."""

SEGMENTS = "token_type_ids"  # which of two texts a token is of, for bases that want to know


class EncodedTexts(torch.utils.data.Dataset[dict[str, Any]]):
    """Token ids and targets; index `PADDING` is a two-token row whose label is ignored."""

    beside: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        token_ids: list[list[int]],
        targets: np.ndarray,
        segments: list[list[int]] | None = None,
    ) -> None:
        self.token_ids = token_ids
        self.targets = targets
        self.segments = segments
        self.lengths = np.fromiter((len(ids) for ids in token_ids), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        is_padding = index == PADDING
        at, end = (0, 2) if is_padding else (index, None)
        label = np.full_like(self.targets[0], IGNORED) if is_padding else self.targets[index]
        row = {"input_ids": self.token_ids[at][:end], "labels": label.tolist()}
        if self.segments is not None:
            row[SEGMENTS] = self.segments[at][:end]
        return row


class Answers(Protocol):
    """What a model gives of a row, and how it is learned and judged."""

    problem_type: ClassVar[str]  # transformers' name, in the model's config
    dtype: ClassVar[torch.dtype]  # of the labels of a batch

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs."""
        ...

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        """(rows,) or (rows, outputs) from the labels as tables hold them."""
        ...

    def loss_sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor: ...

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        """What `loss_sum` is divided by."""
        ...

    def probabilities(self, predictions: np.ndarray) -> np.ndarray:
        """What a function of the user's own is given for the predictions."""
        ...

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums: ...

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]: ...

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]: ...


class OneLabel:
    """One class a row: cross entropy, in which classes may weigh differently."""

    problem_type: ClassVar[str] = "single_label_classification"
    dtype: ClassVar[torch.dtype] = torch.long

    def __init__(self, names: tuple[str, ...], weights: torch.Tensor | None = None) -> None:
        self.names = names
        self.weights = weights
        self._ids = {name: number for number, name in enumerate(names)}

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        return np.fromiter((self._ids[label] for label in labels), dtype=np.int64)

    def loss_sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        weights = None if self.weights is None else self.weights.to(logits.device)
        return torch.nn.functional.cross_entropy(
            logits, labels, weight=weights, ignore_index=IGNORED, reduction="sum"
        )

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        counts = labels[labels != IGNORED]
        if self.weights is None:
            return torch.tensor(len(counts))
        return self.weights[counts.cpu()].sum()

    def probabilities(self, predictions: np.ndarray) -> np.ndarray:
        return softmax(predictions)

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return class_sums(predictions.argmax(axis=1), labels, len(self.names))

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return classification_metrics(predictions, labels, self.names)

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return bootstrap_intervals(predictions, labels, len(self.names), num_samples, seed)


class LabelSet:
    """Any number of labels a row: binary cross entropy, the mean over rows and labels."""

    problem_type: ClassVar[str] = "multi_label_classification"
    dtype: ClassVar[torch.dtype] = torch.float

    def __init__(self, names: tuple[str, ...], threshold: float) -> None:
        self.names = names
        self.threshold = threshold
        self._ids = {name: number for number, name in enumerate(names)}

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(labels), len(self.names)), dtype=np.float32)
        for row, text in enumerate(labels):
            found[row, [self._ids[name] for name in set_of(text)]] = 1.0
        return found

    def loss_sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        counts = labels != IGNORED
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, labels.clamp(min=0.0), weight=counts.float(), reduction="sum"
        )

    def probabilities(self, predictions: np.ndarray) -> np.ndarray:
        return sigmoid(predictions)

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        return (labels != IGNORED).sum()

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return set_sums(sigmoid(predictions) >= self.threshold, labels > 0)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return multilabel_metrics(predictions, labels, self.names, self.threshold)

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return multilabel_intervals(predictions, labels, self.threshold, num_samples, seed)


class OneNumber:
    """A number a row: squared error."""

    problem_type: ClassVar[str] = "regression"
    names = (NUMBER,)
    dtype: ClassVar[torch.dtype] = torch.float

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        found = np.array([float(label) for label in labels], dtype=np.float32)
        # The one number that would not count is moved by the least that fp32 can tell.
        found[found == IGNORED] = np.nextafter(np.float32(IGNORED), np.float32(0))
        return found

    def loss_sum(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        counts = labels != IGNORED
        return ((logits.squeeze(-1) - labels).square() * counts).sum()

    def probabilities(self, predictions: np.ndarray) -> np.ndarray:
        return predictions[:, 0].astype(np.float64)

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        return (labels != IGNORED).sum()

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return number_sums(predictions[:, 0], labels)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return regression_metrics(predictions, labels)

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return regression_intervals(predictions, labels, num_samples, seed)


def answers_of(spec: TextClassification) -> Answers:
    """By the problem of a resolved spec."""
    if spec.kind == REGRESSION:
        return OneNumber()
    assert spec.labels is not None, "the plan resolves the labels"
    if spec.kind == MULTI_LABEL:
        return LabelSet(spec.labels, spec.decides_from)
    return OneLabel(spec.labels, _class_weights(spec))


def _class_weights(spec: TextClassification) -> torch.Tensor | None:
    """In the order of the labels; None where all rows count alike."""
    if spec.class_weights is None:
        return None
    assert spec.labels is not None
    weights = spec.class_weights.weights
    assert weights is not None, "the plan resolves balanced weights"
    return torch.tensor([weights[label] for label in spec.labels])


class TextClassificationTask:
    """Fine-tunes a sequence-classification head on the base's pooled output."""

    loader = "AutoModelForSequenceClassification"

    def __init__(self, spec: TextClassification, max_length: int) -> None:
        self.answers: Answers = answers_of(spec)
        self.max_length = max_length
        parts = [*([] if spec.problem is None else [spec.problem]), *(["pairs"] * spec.has_pairs)]
        self.version = "/".join(["text-classification", *parts, "1"])

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        """The model of a base's or a published folder.

        A base gets a fresh head unless it has one of that many outputs. Training starts from fp32
        weights; `auto` keeps the folder's own precision, as plain transformers does.
        """
        names = self.answers.names
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
            problem_type=self.answers.problem_type,
            ignore_mismatched_sizes=True,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        return model

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> EncodedTexts:
        """Of a pair the longer text is cut first, so that something of both is kept."""
        pair = table.column(TEXT_PAIR).to_pylist() if TEXT_PAIR in table.column_names else None
        encoded = tokenizer(
            table.column(TEXT).to_pylist(),
            pair,
            truncation=True,
            max_length=self.max_length,
            padding=False,
        )
        targets = self.answers.targets(table.column(LABEL).to_pylist())
        segments = encoded.get(SEGMENTS) if pair is not None else None
        return EncodedTexts(encoded["input_ids"], targets, segments)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and perhaps segments of (rows, tokens), and `labels`."""
        batch = pad_rows([row["input_ids"] for row in rows], tokenizer)
        if SEGMENTS in rows[0]:
            batch[SEGMENTS] = pad_like(batch["attention_mask"], [row[SEGMENTS] for row in rows])
        batch["labels"] = torch.tensor([row["labels"] for row in rows], dtype=self.answers.dtype)
        return batch

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return self.answers.loss_sum(outputs.logits.float(), labels)

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        return self.answers.counted(labels)

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = outputs.logits.float()
        return logits

    def probabilities(self, predictions: np.ndarray) -> np.ndarray:
        return self.answers.probabilities(predictions)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return self.answers.metrics(predictions, labels)

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return self.answers.row_sums(predictions, labels)

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return self.answers.intervals(predictions, labels, num_samples, seed)
