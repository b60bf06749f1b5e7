"""How many parameters a method trains, and through how many layers it goes back."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.control.admission.adapters import AdapterSize, adapter_size
from orchestrator.inspect.model import ModelFacts
from orchestrator.specs import AdapterMethod, FreezeMethod, MethodSpec


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model of a job: the base with what is new, and which part of it learns."""

    facts: ModelFacts
    total_parameters: int
    trainable_parameters: int
    trainable_layers: int  # layers that keep activations for the way back
    adapter: AdapterSize | None = None  # where small matrices learn beside the base
    merged: bool = False  # whether they are added to the base in the end

    @property
    def frozen_parameters(self) -> int:
        return self.total_parameters - self.trainable_parameters

    @property
    def saved_parameters(self) -> int:
        """Of a checkpoint: a base beside an adapter is not saved again."""
        return self.total_parameters if self.adapter is None else self.trainable_parameters

    @property
    def published_parameters(self) -> int:
        if self.adapter is None:
            return self.total_parameters
        if self.merged:
            return self.frozen_parameters  # the base, and the original of what learns whole
        return self.trainable_parameters

    @property
    def quantized_parameters(self) -> int:
        """Of the base, held in 4 bits."""
        return self.adapter.quantized if self.adapter is not None else 0


def trained_model(facts: ModelFacts, method: MethodSpec, num_labels: int) -> TrainedModel:
    """What learns under a resolved `method` on a base with a new head of `num_labels` outputs."""
    head = facts.new_head_parameters(num_labels)
    total = facts.parameters.total + head
    if isinstance(method, AdapterMethod):
        size = adapter_size(method, facts)
        learning = head + size.updates + size.whole
        # What learns whole has its frozen original beside it: the head too.
        held = facts.parameters.total + head + learning
        return TrainedModel(facts, held, learning, facts.num_layers, size, method.merge)
    if not isinstance(method, FreezeMethod):
        return TrainedModel(facts, total, total, facts.num_layers)
    if method.all_layers:
        return TrainedModel(facts, total, head, 0)
    assert method.num_layers is not None
    assert method.num_layers <= facts.num_layers, "`model_problems` has refused more"
    frozen = facts.parameters.embeddings + sum(facts.parameters.layers[: method.num_layers])
    return TrainedModel(facts, total, total - frozen, facts.num_layers - method.num_layers)
