"""Learning rates that differ: of layers, and of what is learned beside them. Called by the trainer.

Layer-wise: what lies lower learns more slowly.

Howard and Ruder 2018 (arXiv:1801.06146), section 3.2: lower layers hold what is general.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from orchestrator.worker.models.layers import steps_below_the_top


def decayed_groups(
    model: PreTrainedModel,
    learning_rate: float,
    decay: float,
    weight_decay: float,
    decayed: Collection[str],
) -> list[dict[str, Any]]:
    """The optimizer's parameter groups, the top first: its rate is the one that is logged.

    Args:
        model: Parameters that do not learn are left out.
        learning_rate: Of the head.
        decay: What the rate of a layer is of the one above it.
        weight_decay: AdamW's.
        decayed: Names of parameters that it applies to; biases and norms are not among them.
    """
    groups: dict[tuple[int, bool], list[Any]] = {}
    for name, step in steps_below_the_top(model).items():
        parameter = model.get_parameter(name)
        if parameter.requires_grad:
            groups.setdefault((step, name not in decayed), []).append(parameter)
    return [
        {
            "params": groups[step, is_plain],
            "lr": learning_rate * decay**step,
            "weight_decay": 0.0 if is_plain else weight_decay,
        }
        for step, is_plain in sorted(groups)
    ]


def groups_with_rates(
    model: torch.nn.Module,
    learning_rate: float,
    apart: Mapping[str, float],
    weight_decay: float,
    decayed: Collection[str],
) -> list[dict[str, Any]]:
    """The optimizer's groups where some parameters have a rate of their own and no decay.

    Args:
        model: Parameters that do not learn are left out.
        learning_rate: Of all others; it is the one that is logged.
        apart: Name -> learning rate.
        weight_decay: AdamW's.
        decayed: Names of parameters that it applies to.
    """
    groups: dict[tuple[float, float], list[Any]] = {
        (learning_rate, weight_decay): [],
        (learning_rate, 0.0): [],
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = apart.get(name, learning_rate)
            decay = weight_decay if name in decayed and name not in apart else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
        if parameters
    ]
