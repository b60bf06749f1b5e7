"""What a plan follows from, gathered by `controller.look`: planning itself looks nothing up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.control.admission.resolve import Surroundings
from orchestrator.inspect.data import DataFacts, SplitKey
from orchestrator.inspect.hardware import HardwareFacts
from orchestrator.inspect.model import ModelFacts
from orchestrator.inspect.tokens import TokenFacts
from orchestrator.records import Identity
from orchestrator.specs import FineTune, ModelSpec
from orchestrator.specs.identity import run_digest


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """Everything a plan follows from."""

    spec: FineTune  # as loaded; checked by `specs.checks`
    data: DataFacts  # without problems
    tokens: Mapping[SplitKey, TokenFacts] | None
    model: ModelFacts | None  # None for a script, which alone knows what it makes of a base
    base: ModelSpec | None  # the base, pinned; None where a script starts from nothing
    hardware: HardwareFacts
    base_dir: Path  # of the spec's file
    default_store: str
    recipe: str  # version of the training recipe: part of the run's identity
    base_digest: str = ""  # where `model` does not tell it
    code_sha256: str | None = None  # of the user's code, packed

    @property
    def surroundings(self) -> Surroundings:
        return self._around(self.data)

    def _around(self, data: DataFacts) -> Surroundings:
        return Surroundings(
            base_dir=self.base_dir,
            default_store=self.default_store,
            labels=data.labels,
            model=self.base,
            drawn_labels=data.drawn_labels,
            tasks={name: self._around(facts) for name, facts in data.tasks.items()},
        )


def identity_of(inputs: PlanInputs, resolved: FineTune) -> Identity:
    """What makes another run the same run."""
    digests = inputs.data.digests
    base = inputs.model.digest if inputs.model is not None else inputs.base_digest
    run = run_digest(resolved, digests, base, inputs.recipe, inputs.code_sha256)
    return Identity(run=run, data=digests, base=base, recipe=inputs.recipe, code=inputs.code_sha256)
