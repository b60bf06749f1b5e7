"""Where in a model a weight is: embeddings, a layer of the stack, or above them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

_EMBEDDING = re.compile(r"((encoder|decoder)\.)?(\w*embed\w*|wte|wpe|shared)")
"""Modules below the layers; the decoder's are the encoder's as a rule."""


def encoder_layers(base: torch.nn.Module) -> list[torch.nn.Module]:
    """The stack of equal blocks: the longest ModuleList of the base, or of its encoder."""
    reader = getattr(base, "encoder", None)
    if isinstance(reader, torch.nn.Module) and hasattr(base, "decoder"):
        base = reader
    stacks = [module for module in base.modules() if isinstance(module, torch.nn.ModuleList)]
    assert stacks, f"{type(base).__name__} has no stack of layers"
    return max((list(stack) for stack in stacks), key=len)


def embedding_parameters(base: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Everything below the first layer: token, position and type embeddings and their norm."""
    found = [
        parameter
        for name, module in base.named_modules()
        if _EMBEDDING.fullmatch(name)
        for parameter in module.parameters()
    ]
    assert found, f"{type(base).__name__} has no embeddings below its layers"
    return found


def steps_below_the_top(model: PreTrainedModel) -> Mapping[str, int]:
    """Parameter -> 0 above the layers (head, pooler), 1 in the last layer, 2 in the one below it.

    Embeddings are one step below the first layer.
    """
    layers = encoder_layers(model.base_model)
    steps = {
        id(parameter): len(layers) - number
        for number, layer in enumerate(layers)
        for parameter in layer.parameters()
    }
    lowest = len(layers) + 1
    steps |= {id(parameter): lowest for parameter in embedding_parameters(model.base_model)}
    return {name: steps.get(id(parameter), 0) for name, parameter in model.named_parameters()}
