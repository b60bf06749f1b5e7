"""Text classification: one label for each text, cross entropy over the task's labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from orchestrator.specs import TextClassification
from orchestrator.worker.data.batches import IGNORED, PADDING
from orchestrator.worker.data.collating import pad_rows
from orchestrator.worker.evaluation.classification import (
    bootstrap_intervals,
    classification_metrics,
)
from orchestrator.worker.evaluation.sums import RowSums, class_sums


class EncodedTexts(torch.utils.data.Dataset[dict[str, Any]]):
    """Token ids and label ids; index `PADDING` is a two-token row whose label is ignored."""

    beside: ClassVar[tuple[str, ...]] = ()

    def __init__(self, token_ids: list[list[int]], targets: np.ndarray) -> None:
        self.token_ids = token_ids
        self.targets = targets
        self.lengths = np.fromiter((len(ids) for ids in token_ids), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.token_ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == PADDING:
            return {"input_ids": self.token_ids[0][:2], "labels": IGNORED}
        return {"input_ids": self.token_ids[index], "labels": int(self.targets[index])}


class TextClassificationTask:
    """Fine-tunes a sequence-classification head on the base's pooled output."""

    version = "text-classification/1"
    loader = "AutoModelForSequenceClassification"

    def __init__(self, spec: TextClassification, max_length: int) -> None:
        assert spec.labels is not None, "the plan resolves the labels"
        self.names = spec.labels
        self.max_length = max_length
        self.ids = {name: number for number, name in enumerate(spec.labels)}
        self.class_weights = _class_weights(spec)

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel:
        """The model of a base's or a published folder.

        A base gets a fresh head unless it has one of that many labels. Training starts from fp32
        weights; `auto` keeps the folder's own precision, as plain transformers does.
        """
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(self.names),
            id2label=dict(enumerate(self.names)),
            label2id=self.ids,
            problem_type="single_label_classification",
            ignore_mismatched_sizes=True,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        return model

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> EncodedTexts:
        texts = table.column("text").to_pylist()
        encoded = tokenizer(texts, truncation=True, max_length=self.max_length, padding=False)
        label_ids = np.fromiter(
            (self.ids[label] for label in table.column("label").to_pylist()), dtype=np.int64
        )
        return EncodedTexts(encoded["input_ids"], label_ids)

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of (rows, tokens), `labels` of (rows,)."""
        batch = pad_rows([row["input_ids"] for row in rows], tokenizer)
        batch["labels"] = torch.tensor([row["labels"] for row in rows], dtype=torch.long)
        return batch

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        weights = self.class_weights
        return torch.nn.functional.cross_entropy(
            outputs.logits.float(),
            labels,
            weight=None if weights is None else weights.to(outputs.logits.device),
            ignore_index=IGNORED,
            reduction="sum",
        )

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        counts = labels[labels != IGNORED]
        if self.class_weights is None:
            return torch.tensor(len(counts))
        return self.class_weights[counts.cpu()].sum()

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = outputs.logits.float()
        return logits

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return classification_metrics(predictions, labels, self.names)

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums:
        return class_sums(predictions.argmax(axis=1), labels, len(self.names))

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return bootstrap_intervals(predictions, labels, len(self.names), num_samples, seed)


def _class_weights(spec: TextClassification) -> torch.Tensor | None:
    """In the order of the labels; None where all rows count alike."""
    if spec.class_weights is None:
        return None
    assert spec.labels is not None
    weights = spec.class_weights.weights
    assert weights is not None, "the plan resolves balanced weights"
    return torch.tensor([weights[label] for label in spec.labels])
