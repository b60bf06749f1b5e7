"""Freezing: the lower part of the base, or all of it (feature extraction), does not learn."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from transformers import PreTrainedModel

from orchestrator.errors import InvalidInput, Problem
from orchestrator.specs import FreezeMethod


def apply(method: FreezeMethod, model: PreTrainedModel) -> None:
    """Turns off gradients of the frozen part and keeps its dropout on, as in full fine-tuning.

    Raises:
        InvalidInput: More layers are to be frozen than the base has.
    """
    base = model.base_model
    if method.all_layers:
        _freeze(base.parameters())
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


def encoder_layers(base: torch.nn.Module) -> list[torch.nn.Module]:
    """The stack of equal blocks: the longest ModuleList of the base."""
    stacks = [module for module in base.modules() if isinstance(module, torch.nn.ModuleList)]
    assert stacks, f"{type(base).__name__} has no stack of layers"
    return max((list(stack) for stack in stacks), key=len)


def embedding_parameters(base: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Everything below the first layer: token, position and type embeddings and their norm."""
    for name, module in base.named_children():
        if "embed" in name:
            return list(module.parameters())
    raise AssertionError(f"{type(base).__name__} has no embeddings below its layers")


def _freeze(parameters: Iterable[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(False)
