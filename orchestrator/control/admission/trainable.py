"""How many parameters a method trains, and through how many layers it goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.control.admission.adapters import AdapterSize, adapter_size
from orchestrator.inspect.model import ModelFacts
from orchestrator.specs import AdapterMethod, FreezeMethod, MaskedLm, MethodSpec, TaskSpec
from orchestrator.specs.task import LANGUAGE_TASKS


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model of a job: the base with what is new, and which part of it learns."""

    facts: ModelFacts
    total_parameters: int
    trainable_parameters: int
    trainable_layers: int  # layers that keep activations for the way back
    vocabulary: int = 0  # outputs of each token; 0 where a row has some classes
    adapter: AdapterSize | None = None  # where small matrices learn beside the base
    merged: bool = False  # whether they are added to the base in the end
    copies: int = 1  # whole bases that are published: one beside each head of several tasks

    @property
    def frozen_parameters(self) -> int:
        return self.total_parameters - self.trainable_parameters

    @property
    def multiplied_parameters(self) -> int:
        """Those that every token is multiplied with: looking embeddings up costs nothing."""
        tied = self.vocabulary * self.facts.hidden_size if self.facts.tied_embeddings else 0
        return self.total_parameters - self.facts.parameters.embeddings + tied

    @property
    def saved_parameters(self) -> int:
        """Of a checkpoint: a base beside an adapter is not saved again."""
        return self.total_parameters if self.adapter is None else self.trainable_parameters

    @property
    def published_parameters(self) -> int:
        if self.adapter is None:
            more = (self.copies - 1) * self.facts.parameters.total
            return self.total_parameters + more
        if self.merged:
            return self.frozen_parameters  # the base, and the original of what learns whole
        return self.trainable_parameters

    @property
    def quantized_parameters(self) -> int:
        """Of the base, held in 4 bits."""
        return self.adapter.quantized if self.adapter is not None else 0


def several_tasks_model(facts: ModelFacts, num_labels: Sequence[int]) -> TrainedModel:
    """What learns with a head of so many labels for each task; of none, the base's own for all.

    The base is published alone and once beside each head; one that predicts tokens only once.
    """
    vocabulary = 0 if num_labels else facts.vocab_size
    if vocabulary:
        head = 0 if facts.tied_embeddings else vocabulary * facts.hidden_size
    else:
        head = sum(facts.new_head_parameters(labels) for labels in num_labels)
    total = facts.parameters.total + head
    copies = len(num_labels) + 1 if num_labels else 1
    return TrainedModel(facts, total, total, facts.num_layers, vocabulary, copies=copies)


def trained_model(
    facts: ModelFacts, task: TaskSpec, method: MethodSpec, num_labels: int
) -> TrainedModel:
    """What learns under a resolved `method` on a base with the head of `task`.

    A new one of `num_labels` outputs, or that of the vocabulary, which every language model has.
    """
    vocabulary = facts.vocab_size if isinstance(task, LANGUAGE_TASKS) else 0
    if vocabulary:
        head = 0 if facts.tied_embeddings else vocabulary * facts.hidden_size
        if isinstance(task, MaskedLm):
            head += facts.new_masked_head_parameters
    else:
        head = facts.new_head_parameters(num_labels)
    total = facts.parameters.total + head
    if isinstance(method, AdapterMethod):
        size = adapter_size(method, facts)
        new = 0 if vocabulary else head  # the output layer of a language model stays as it is
        learning = new + size.updates + size.whole
        # What learns whole has its frozen original beside it: the head too.
        held = facts.parameters.total + head + learning
        layers = facts.num_layers
        return TrainedModel(facts, held, learning, layers, vocabulary, size, method.merge)
    if not isinstance(method, FreezeMethod):
        return TrainedModel(facts, total, total, facts.num_layers, vocabulary)
    if method.all_layers:
        return TrainedModel(facts, total, head, 0, vocabulary)
    assert method.num_layers is not None
    assert method.num_layers <= facts.num_layers, "`model_problems` has refused more"
    frozen = facts.parameters.embeddings + sum(facts.parameters.layers[: method.num_layers])
    layers = facts.num_layers - method.num_layers
    return TrainedModel(facts, total, total - frozen, layers, vocabulary)
