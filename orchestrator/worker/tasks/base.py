"""What the training function needs to know of a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Encoded(Protocol):
    """Rows ready for a collator, a map-style data set; index `PADDING` does not count."""

    lengths: np.ndarray  # tokens of each row
    targets: np.ndarray  # what the metrics compare predictions with

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


class Task(Protocol):
    """Built from its spec; models, tokenizers and tables are arguments."""

    version: str
    """Changes when the same spec and data would train other weights."""

    main_metric: str

    def build_model(
        self, folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32
    ) -> PreTrainedModel: ...

    def encode(
        self, table: pa.Table, tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> Encoded: ...

    def collate(
        self, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, torch.Tensor]: ...

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        """Summed loss over the rows that count (label other than -100), in fp32."""
        ...

    def predictions(self, outputs: Any) -> torch.Tensor:
        """What evaluation keeps of a batch, one row an example."""
        ...

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]: ...

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        """Metric -> [low, high] at 95 %; empty for 0 samples."""
        ...
