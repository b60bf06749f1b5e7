"""Loss and figures of models that predict tokens. Shared by the tasks that do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from orchestrator.worker.data import prompts
from orchestrator.worker.data.batches import IGNORED

CONFIDENCE = 0.95
LOSS, TOKENS, CORRECT = range(3)
"""Columns of what is kept of a row: summed loss, tokens that count, tokens predicted rightly."""


class TokenFigures:
    """Loss and figures of a task whose labels stand where its model predicts them."""

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return token_loss_sum(outputs.logits, labels)

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return token_sums(outputs.logits, labels)

    def metrics(self, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        return token_metrics(predictions)

    def intervals(
        self, predictions: np.ndarray, labels: np.ndarray, num_samples: int, seed: int
    ) -> dict[str, list[float]]:
        return token_intervals(predictions, num_samples, seed)


class NextTokenFigures(TokenFigures):
    """The same for causal models: a token is predicted at the one before it."""

    def loss_sum(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return token_loss_sum(*prompts.shifted(outputs, labels))

    def predictions(self, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        return token_sums(*prompts.shifted(outputs, labels))


def token_loss_sum(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed cross entropy of (rows, tokens, vocabulary) against (rows, tokens), in fp32."""
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def token_sums(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(rows, 3): LOSS, TOKENS and CORRECT of each row, in float64."""
    counts = labels != IGNORED
    losses = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    correct = (logits.argmax(dim=-1) == labels) & counts
    columns = (losses.double().sum(dim=1), counts.sum(dim=1), correct.sum(dim=1))
    return torch.stack([column.double() for column in columns], dim=1)


def token_metrics(sums: np.ndarray) -> dict[str, Any]:
    """Mean loss a token, its exponential, and the share of tokens predicted rightly."""
    total = sums.sum(axis=0)
    loss = float(total[LOSS] / max(total[TOKENS], 1.0))
    return {
        "num_rows": len(sums),
        "num_tokens": int(total[TOKENS]),
        "loss": loss,
        "perplexity": _exponential(loss),
        "token_accuracy": float(total[CORRECT] / max(total[TOKENS], 1.0)),
    }


def token_intervals(sums: np.ndarray, num_samples: int, seed: int) -> dict[str, list[float]]:
    """Percentile bootstrap over rows (Efron & Tibshirani 1993, ch. 13): tokens of a row stay
    together, since they are not independent."""
    if num_samples == 0 or not len(sums):
        return {}
    generator = np.random.default_rng(seed)
    found = {"loss": [], "perplexity": [], "token_accuracy": []}  # type: dict[str, list[float]]
    for _ in range(num_samples):
        drawn = sums[generator.integers(0, len(sums), len(sums))]
        for name, values in found.items():
            values.append(token_metrics(drawn)[name])
    tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
    return {
        name: [float(bound) for bound in np.percentile(values, tails)]
        for name, values in found.items()
    }


def _exponential(loss: float) -> float:
    """Of a loss that may be that of an untrained model: the largest float instead of an error."""
    return math.exp(min(loss, 700.0))
