"""What the training function needs to know of a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.worker.evaluation.sums import RowSums
from orchestrator.worker.evaluation.texts import Texts


class Encoded(Protocol):
    """Rows ready for a collator, a map-style data set; index `PADDING` does not count."""

    lengths: np.ndarray  # tokens of each row
    targets: np.ndarray  # what the metrics compare predictions with

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


@runtime_checkable
class StorableRows(Encoded, Protocol):
    """Rows that are always the same, and so are kept on a node (`data.stored`).

    What `__getitem__` gives is numbers, texts and lists of them, under the same keys in every row.
    """

    @property
    def beside(self) -> tuple[str, ...]:
        """Attributes with one value a row that are kept too, besides lengths and targets."""
        ...


class Task(Protocol):
    """Built from its spec and its base; models, tokenizers and tables are arguments."""

    version: str
    """Changes when the same spec and data would train other weights."""

    loader: str
    """transformers' class that loads what is published."""

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel: ...

    def encode(self, table: pa.Table, tokenizer: PreTrainedTokenizerBase) -> Encoded:
        """By the rows, the task's spec, the lengths of `training` and the tokenizer alone."""
        ...

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]: ...

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """Summed loss over what counts (labels other than -100), in fp32."""
        ...

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """What evaluation keeps of a batch, one row an example."""
        ...

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]: ...

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        """Metric -> [low, high] at 95 %; empty for 0 samples."""
        ...


@runtime_checkable
class GivesProbabilities(Protocol):
    """A task whose predictions are not simply to be normalized over classes."""

    def probabilities(self, predictions: np.ndarray) -> np.ndarray:
        """What a function of the user's own is given in place of the predictions."""
        ...


@runtime_checkable
class SumsRows(Protocol):
    """A task whose forced metrics any group of rows has (`evaluation.slices`)."""

    def row_sums(self, predictions: np.ndarray, labels: np.ndarray) -> RowSums: ...


@runtime_checkable
class Counts(Protocol):
    """A task whose loss is divided by something else than the number of labels that count."""

    def counted(self, labels: torch.Tensor) -> torch.Tensor:
        """Of some rows, what their `loss_sum` is divided by; sums over the global batch."""
        ...


@runtime_checkable
class SharesLoss(Counts, Protocol):
    """A task whose loss is no one sum by one divisor."""

    def loss_share(self, outputs: Any, labels: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """What some rows contribute to the loss of the global batch that `counted` is of."""
        ...


@runtime_checkable
class HasParts(Protocol):
    """Several tasks over one base."""

    def task(self, name: str) -> Task:
        """One of them, for what is published of it."""
        ...

    def part(self, name: str) -> Task:
        """One of them, for the model they share."""
        ...


class EncodedTexts(Encoded, Protocol):
    """Rows of a task that writes texts."""

    prompts: Sequence[list[int]]  # token ids the model reads
    references: Sequence[str]  # what it should write
    sources: Sequence[str]  # what was to be translated or summarized


@runtime_checkable
class HidesTokens(Protocol):
    """A task whose encoded rows are whole texts, of which it hides a part."""

    def hidden(self, rows: Encoded, tokenizer: PreTrainedTokenizerBase) -> Encoded: ...


@runtime_checkable
class ChangesByEpoch(Protocol):
    """Rows that differ from epoch to epoch, as a pure function of it."""

    def set_epoch(self, epoch: int) -> None: ...


@runtime_checkable
class ReadiesTokenizer(Protocol):
    """A task whose tokenizer must be told something before it is used."""

    def ready(self, tokenizer: PreTrainedTokenizerBase) -> None: ...


@runtime_checkable
class WritesTexts(Protocol):
    """A task whose model is judged by the texts it writes."""

    writes_after_prompt: bool
    """A causal model's output begins with what it read; a decoder's does not."""

    def text_metrics(self, texts: Texts, num_samples: int, seed: int) -> dict[str, Any]:
        """Corpus metrics of texts and their floors, with `intervals` where samples are drawn."""
        ...

    def text_sums(self, texts: Texts) -> RowSums:
        """Of the metrics that any group of texts has."""
        ...
