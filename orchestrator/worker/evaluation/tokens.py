"""Loss and figures of models that predict tokens. Shared by the tasks that do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from orchestrator.worker.data import prompts
from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.evaluation.resampling import percentiles, resampled_sums

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


def token_figures(total: np.ndarray) -> dict[str, np.ndarray]:
    """Mean loss a token, its exponential, and the share of tokens predicted rightly.

    Args:
        total: (samples, 3), `token_sums` summed over the rows of each sample.

    Returns:
        Metric -> (samples,); no token counts as a loss of 0.
    """
    tokens = np.maximum(total[:, TOKENS], 1.0)
    loss = total[:, LOSS] / tokens
    return {
        "loss": loss,
        "perplexity": np.exp(np.minimum(loss, 700.0)),  # of untrained models: a float all the same
        "token_accuracy": total[:, CORRECT] / tokens,
    }


def token_metrics(sums: np.ndarray) -> dict[str, Any]:
    """The figures of some rows, and how many rows and tokens they are."""
    total = sums.sum(axis=0, keepdims=True)
    figures = {name: float(value[0]) for name, value in token_figures(total).items()}
    return {"num_rows": len(sums), "num_tokens": int(total[0, TOKENS]), **figures}


def token_intervals(sums: np.ndarray, num_samples: int, seed: int) -> dict[str, list[float]]:
    """By drawing rows: tokens of a row stay together, since they are not independent."""
    if num_samples == 0 or not len(sums):
        return {}
    drawn = token_figures(resampled_sums(sums, num_samples, seed))
    return {name: percentiles(values) for name, values in drawn.items()}
