"""Methods: how the weights change."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from orchestrator.specs.base import SpecError, SpecModel

ModuleName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$")
]
"""A module of a model, or the end of its path: `query`, `attention.self.query`."""


InnerOptimizer = Literal["adam", "sgd"]
"""Of a few steps on a few rows, without decay or schedule."""


class FullMethod(SpecModel):
    """Every weight learns."""

    type: Literal["full"] = Field(description="Every weight learns.")


class FreezeMethod(SpecModel):
    """The lower part of the base stays as it is."""

    type: Literal["freeze"] = Field(description="The lower part of the base stays as it is.")
    num_layers: int | None = Field(
        default=None,
        ge=0,
        description="Freeze the embeddings and the first n layers; 0 freezes the embeddings only.",
    )
    all_layers: bool = Field(
        default=False, description="Freeze the whole base and train the head: feature extraction."
    )

    @model_validator(mode="after")
    def _one_choice(self) -> FreezeMethod:
        if self.all_layers == (self.num_layers is not None):
            raise SpecError(
                "give either `num_layers: n` or `all_layers: true`",
                hint="`all_layers: true` trains the head only: feature extraction",
            )
        return self


class PretrainMethod(SpecModel):
    """Every weight learns from unlabelled texts; what is published is the base of other jobs.

    On texts of a domain, or of a task's own training split (Gururangan et al. 2020,
    arXiv:2004.10964).
    """

    type: Literal["pretrain"] = Field(
        description="Every weight learns from unlabelled texts; the result is a base."
    )
    split_texts: bool = Field(
        default=True,
        description=(
            "A text longer than training.max_length becomes several rows; false: it is cut."
        ),
    )


class AdapterMethod(SpecModel):
    """What all methods have in common that train small matrices beside a frozen base.

    Hu et al. 2021, arXiv:2106.09685. What is absent is the plan's choice: the adapter's own where
    the base is one that is trained further.
    """

    type: str = Field(description="Which kind of adapter.")
    rank: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Rank of each update; absent: 16, or that of the adapter to go on with.",
    )
    alpha: float | None = Field(
        default=None,
        gt=0,
        description="Updates are scaled by alpha / rank; absent: twice the rank.",
    )
    dropout: float = Field(
        default=0.05, ge=0, lt=1, description="Dropout on what goes into the updates."
    )
    target_modules: tuple[ModuleName, ...] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Linear modules that get an update, by name or by the end of it, e.g. query; "
            "absent: all of the base's layers."
        ),
    )
    modules_to_save: tuple[ModuleName, ...] = Field(
        default=(),
        description="More modules that learn whole; what is new for the task (its head) does.",
    )
    use_dora: bool | None = Field(
        default=None,
        description="Also learn the length of each weight's columns (DoRA); absent: no.",
    )
    use_rslora: bool | None = Field(
        default=None,
        description="Scale by alpha / sqrt(rank) (rsLoRA), for large ranks; absent: no.",
    )
    merge: bool = Field(
        default=False,
        description="Publish whole weights with the updates added, not the adapter alone.",
    )


class LoraMethod(AdapterMethod):
    """Small matrices learn beside the frozen base, and are published as an adapter."""

    type: Literal["lora"] = Field(
        description="Low-rank updates learn beside the frozen base (LoRA, DoRA, rsLoRA)."
    )


class QloraMethod(AdapterMethod):
    """As lora, over a base that is held in 4 bits; needs GPUs."""

    type: Literal["qlora"] = Field(
        description="As lora, over a base that is held in 4 bits on the GPU."
    )
    quantization: Literal["nf4", "fp4"] = Field(
        default="nf4", description="The 4-bit numbers that the base is held in."
    )
    double_quantization: bool = Field(
        default=True, description="Also quantize the scales: 0.4 bits less a weight."
    )


class MetaMethod(SpecModel):
    """Learns an initialisation from which a few rows of a new domain are enough.

    Each optimizer step draws episodes: a domain, and some rows of each class. A copy of the weights
    takes a few inner steps on them, and what it has gone through moves the initialisation.
    `training.learning_rate` is that of the outer step, `training.global_batch_size` the rows of an
    inner one.
    """

    type: Literal["meta"] = Field(
        description="An initialisation is learned over domains as episodes (Reptile, FOMAML)."
    )
    algorithm: Literal["reptile", "fomaml"] = Field(
        default="reptile",
        description=(
            "reptile: the initialisation moves to where the inner steps end (arXiv:1803.02999); "
            "fomaml: by the gradient there on other rows of the episode (arXiv:1703.03400)."
        ),
    )
    episodes_per_step: int = Field(
        default=4, ge=1, description="Episodes of one outer step over all workers."
    )
    shots: int = Field(
        default=8, ge=1, description="Rows of each class that an episode's inner steps learn from."
    )
    query: int | None = Field(
        default=None,
        ge=1,
        description="More rows of each class for fomaml's gradient; absent: as many as shots.",
    )
    inner_steps: int = Field(default=5, ge=1, description="Inner steps of an episode.")
    inner_learning_rate: float = Field(
        default=1.0e-4, gt=0, le=10, description="Learning rate of the inner steps."
    )
    inner_optimizer: InnerOptimizer = Field(
        default="adam", description="Optimizer of the inner steps; it starts anew in each episode."
    )
    outer_optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw",
        description=(
            "Optimizer of the outer step; with sgd training.learning_rate is the share of the way "
            "that reptile goes, e.g. 0.5."
        ),
    )
    head: Literal["shared", "fresh"] | None = Field(
        default=None,
        description=(
            "shared: the output layer is a part of the initialisation; fresh: it starts from zero "
            "in each episode; absent: fresh where two domains have no label in common."
        ),
    )

    @property
    def query_of_each(self) -> int:
        """Rows of each class that an episode is judged by; reptile looks at no others."""
        return 0 if self.algorithm == "reptile" else self.query or self.shots

    def steps_per_epoch(self, num_rows: int, num_classes: int) -> int:
        """Outer steps that draw as many rows as one pass over the training rows has."""
        drawn = self.episodes_per_step * num_classes * (self.shots + self.query_of_each)
        return math.ceil(num_rows / drawn)

    def gradient_steps(self, outer_steps: int) -> int:
        """Gradients that are taken one after the other, in all: what a joint training may too."""
        of_episode = self.inner_steps + (1 if self.query_of_each else 0)
        return outer_steps * self.episodes_per_step * of_episode


MethodSpec = Annotated[
    FullMethod | FreezeMethod | LoraMethod | QloraMethod | PretrainMethod | MetaMethod,
    Field(discriminator="type", description="How the weights change."),
]


def splits_texts(method: MethodSpec) -> bool:
    """Whether a text that is too long becomes several rows."""
    return isinstance(method, PretrainMethod) and method.split_texts
