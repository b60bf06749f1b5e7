"""Layer-wise learning rates: what lies lower learns more slowly. Called by the trainer.

Howard and Ruder 2018 (arXiv:1801.06146), section 3.2: lower layers hold what is general.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

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
