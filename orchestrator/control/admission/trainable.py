"""How many parameters a method trains, and through how many layers it goes back."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.inspect.model import ModelFacts
from orchestrator.specs import FreezeMethod, MethodSpec


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model of a job: the base with a new head, and which part of it learns."""

    facts: ModelFacts
    total_parameters: int
    trainable_parameters: int
    trainable_layers: int  # layers that keep activations for the way back

    @property
    def frozen_parameters(self) -> int:
        return self.total_parameters - self.trainable_parameters


def trained_model(facts: ModelFacts, method: MethodSpec, num_labels: int) -> TrainedModel:
    """What learns under `method` on a base with a new head of `num_labels` outputs."""
    head = facts.new_head_parameters(num_labels)
    total = facts.parameters.total + head
    if not isinstance(method, FreezeMethod):
        return TrainedModel(facts, total, total, facts.num_layers)
    if method.all_layers:
        return TrainedModel(facts, total, head, 0)
    assert method.num_layers is not None
    assert method.num_layers <= facts.num_layers, "`model_problems` has refused more"
    frozen = facts.parameters.embeddings + sum(facts.parameters.layers[: method.num_layers])
    return TrainedModel(facts, total, total - frozen, facts.num_layers - method.num_layers)
