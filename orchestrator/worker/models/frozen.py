"""Bases that do not learn at all: they read without dropout, and each row once.

Called by the method `freeze` and by the training function. Which kinds of heads read nothing but
the first token, so that it can be kept for them, is in `inspect.architectures`.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from orchestrator.inspect.architectures import reads_first_token

FEATURES = "features"
"""Key of a batch that brings what the base makes of its rows."""


def without_dropout(base: torch.nn.Module) -> None:
    """The base reads as in evaluation, whatever mode the model around it is put into."""

    def stay(module: torch.nn.Module, mode: bool = True) -> torch.nn.Module:
        return torch.nn.Module.train(module, False)

    base.train = MethodType(stay, base)  # type: ignore[method-assign]
    base.train()


def can_keep_features(model: torch.nn.Module) -> bool:
    """Whether a row's features are all that the head reads of it."""
    return (
        isinstance(model, PreTrainedModel)
        and model.base_model is not model
        and reads_first_token(model.config.model_type)
    )


def read_features(outputs: Any) -> torch.Tensor:
    """(rows, vectors x hidden): the first token's, and the pooler's where there is one."""
    vectors = [outputs.last_hidden_state[:, 0]]
    pooled = getattr(outputs, "pooler_output", None)
    if pooled is not None:
        vectors.append(pooled)
    return torch.cat(vectors, dim=-1).float()


class ReplayedBase:
    """Gives a model the features of a batch in place of what its base would read."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._features: torch.Tensor | None = None
        self._size = int(model.config.hidden_size)
        base = model.base_model
        self._read = base.forward
        base.forward = self._forward
        model.register_forward_pre_hook(self._before, with_kwargs=True)

    def _before(
        self, model: torch.nn.Module, args: tuple[Any, ...], batch: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        features = batch.pop(FEATURES, None)
        if features is not None:
            features = features.to(next(model.parameters()).dtype)
        self._features = features
        return args, batch

    def _forward(self, *args: Any, **batch: Any) -> Any:
        if self._features is None:
            return self._read(*args, **batch)
        first, *pooled = torch.split(self._features, self._size, dim=-1)
        return BaseModelOutputWithPooling(
            last_hidden_state=first.unsqueeze(1),
            pooler_output=pooled[0] if pooled else None,
        )
