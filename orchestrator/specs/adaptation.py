"""How an initialisation is measured: curves over the rows of a new domain it may learn from."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from orchestrator.specs.base import DomainName, SpecError, SpecModel
from orchestrator.specs.data import DataSpec, drawn_domains
from orchestrator.specs.method import InnerOptimizer


class JointSpec(SpecModel):
    """The joint initialisation: ordinary fine-tuning on all training domains at once."""

    steps: int | None = Field(
        default=None,
        ge=1,
        description="Gradient steps; absent: as many as the method takes, inner ones counted.",
    )
    learning_rate: float = Field(
        default=1.0e-4, gt=0, le=10, description="Peak learning rate of its AdamW."
    )


class AdaptationSpec(SpecModel):
    """K-shot curves on held-out domains.

    For each domain, k and seed, k rows of each class are drawn from the train split, the published
    weights and those they are compared with learn from the same rows in the same way, and the test
    split tells how well.
    """

    domains: tuple[DomainName, ...] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Held-out domains with train and test splits; absent: all that are not learned from."
        ),
    )
    shots: tuple[int, ...] = Field(
        default=(0, 2, 4, 8, 16, 32),
        min_length=1,
        description="Rows of each class, ascending; of a class that has fewer, all of them.",
    )
    seeds: int = Field(
        default=5, ge=2, le=100, description="Draws of these rows for each point and interval."
    )
    steps: int = Field(default=20, ge=1, description="Gradient steps on the drawn rows.")
    learning_rate: float = Field(
        default=1.0e-4, gt=0, le=10, description="Learning rate of these steps."
    )
    optimizer: InnerOptimizer = Field(default="adam", description="Optimizer of these steps.")
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Rows of one of these steps, at most; absent: training.global_batch_size.",
    )
    compare_with: tuple[Literal["plain", "joint"], ...] = Field(
        default=("plain",),
        description=(
            "plain: the base with a new head; joint: the base after ordinary fine-tuning on the "
            "same training domains, for method meta."
        ),
    )
    joint: JointSpec | None = Field(
        default=None,
        description="How the joint initialisation is trained; absent: by its defaults.",
    )
    max_test_rows: int | None = Field(
        default=None,
        ge=1,
        description="First rows of each test split that are measured on; absent: all.",
    )

    @model_validator(mode="after")
    def _ascending(self) -> AdaptationSpec:
        if any(low >= high for low, high in pairwise((-1, *self.shots))):
            raise SpecError(
                "shots ascend from 0 or more, each once",
                field="shots",
                hint="e.g. shots: [0, 2, 4, 8, 16, 32]",
            )
        if len(set(self.compare_with)) < len(self.compare_with):
            raise SpecError("each is compared with once", field="compare_with", hint="remove one")
        if self.joint is not None and "joint" not in self.compare_with:
            raise SpecError(
                "the joint initialisation is not compared with",
                field="joint",
                hint="add joint to compare_with, or remove it",
            )
        return self


def adaptation_domains(how: AdaptationSpec | None, data: DataSpec) -> tuple[str, ...]:
    """The held-out domains whose train rows are drawn from: those named, or all there are."""
    if how is None:
        return ()
    if how.domains is not None:
        return how.domains
    learned = drawn_domains(data)
    return tuple(
        name
        for name, domain in data.domains.items()
        if name not in learned and domain.train is not None and domain.test is not None
    )
