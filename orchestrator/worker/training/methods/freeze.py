"""Freezing: the lower part of the base, or all of it (feature extraction), does not learn."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from transformers import PreTrainedModel

from orchestrator.errors import InvalidInput, Problem
from orchestrator.specs import FreezeMethod
from orchestrator.worker.models.frozen import without_dropout
from orchestrator.worker.models.layers import embedding_parameters, encoder_layers


def apply(method: FreezeMethod, model: PreTrainedModel) -> None:
    """Turns off gradients of the frozen part, whose dropout stays on as in full fine-tuning.

    A base that is frozen whole has none: it only reads, and what it makes of a row can be kept.

    Raises:
        InvalidInput: More layers are to be frozen than the base has.
    """
    base = model.base_model
    if method.all_layers:
        _freeze(base.parameters())
        without_dropout(base)
        return
    layers = encoder_layers(base)
    assert method.num_layers is not None
    if method.num_layers > len(layers):
        raise InvalidInput(
            [
                Problem(
                    f"the base has {len(layers)} layers, {method.num_layers} cannot be frozen",
                    path="method.num_layers",
                    hint=f"write {len(layers)} or less, or `all_layers: true`",
                )
            ]
        )
    frozen = chain.from_iterable(layer.parameters() for layer in layers[: method.num_layers])
    _freeze(chain(embedding_parameters(base), frozen))


def _freeze(parameters: Iterable[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(False)
