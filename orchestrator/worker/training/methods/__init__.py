"""One recipe a file: which weights learn. Recipes never import each other."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from orchestrator.specs import AdapterMethod, FreezeMethod, MethodSpec, MultiTaskMethod
from orchestrator.worker.models.start import Start


def apply_method(
    method: MethodSpec, model: PreTrainedModel, start: Start, seed: int
) -> torch.nn.Module:
    """Prepares a freshly loaded base for the method; what is returned learns.

    Args:
        method: Resolved.
        model: The base with the task's head; it is changed.
        start: Where it came from; an adapter there is gone on with, or becomes a part of the base.
        seed: Of new weights.
    """
    if isinstance(method, AdapterMethod):
        from orchestrator.worker.training.methods import lora

        return lora.apply(method, model, start, seed)
    if start.adapter is not None:
        from orchestrator.worker.models.adapters import merged

        model = merged(model, start.adapter, any_head=True)
        model.requires_grad_(True)
    if isinstance(method, MultiTaskMethod):
        from orchestrator.worker.models.shared import SharedModel
        from orchestrator.worker.training.methods import multi_task

        assert isinstance(model, SharedModel), "the tasks build it"
        multi_task.apply(method, model)
    if isinstance(method, FreezeMethod):
        from orchestrator.worker.training.methods import freeze

        freeze.apply(method, model)
    return model
