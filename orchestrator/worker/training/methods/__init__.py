"""One recipe a file: which weights learn. Recipes never import each other."""

from __future__ import annotations

from transformers import PreTrainedModel

from orchestrator.specs import FreezeMethod, MethodSpec


def apply_method(method: MethodSpec, model: PreTrainedModel) -> None:
    """Prepares a freshly loaded model for the method, in place."""
    if isinstance(method, FreezeMethod):
        from orchestrator.worker.training.methods import freeze

        freeze.apply(method, model)
