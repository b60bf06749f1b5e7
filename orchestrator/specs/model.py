"""The base model a job starts from: published weights, or an architecture that has none yet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from orchestrator.specs.base import SpecError, SpecModel

Architecture = Literal["t5", "marian", "bart", "llama", "bert"]


class FreshModel(SpecModel):
    """A model with random weights, and a tokenizer made of the training rows."""

    architecture: Architecture = Field(
        description=("t5, marian, bart: encoder-decoders; llama: a causal model; bert: an encoder.")
    )
    hidden_size: int = Field(ge=8, le=65_536, description="Size of a token's vector.")
    layers: int = Field(ge=1, le=1000, description="Layers; of encoder-decoders, of each side.")
    heads: int = Field(ge=1, le=1024, description="Heads of attention; they divide hidden_size.")
    feed_forward_size: int | None = Field(
        default=None, ge=8, description="Inner size of a layer; absent: four times hidden_size."
    )
    vocabulary_size: int = Field(
        default=8192,
        ge=512,
        le=1_000_000,
        description=(
            "Tokens of the byte-level BPE that is made of the training rows, at most; few rows "
            "have fewer."
        ),
    )
    max_positions: int = Field(
        default=512, ge=8, description="Tokens of the longest text; t5 has no limit."
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="While it learns.")

    @model_validator(mode="after")
    def _heads_divide(self) -> FreshModel:
        if self.hidden_size % self.heads:
            raise SpecError(
                f"{self.heads} heads do not divide a hidden size of {self.hidden_size}",
                field="heads",
                hint="write heads that do, e.g. hidden_size / 64",
            )
        return self

    @property
    def shown(self) -> str:
        """What it is called where a base has a name."""
        return f"a fresh {self.architecture} of {self.layers} x {self.hidden_size}"


class ModelSpec(SpecModel):
    """Which pretrained model to start from, or which architecture."""

    base: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "Base model: hf://org/name, package://python_package/folder, a folder, "
            "s3://bucket/prefix, models://name@version or job://name."
        ),
    )
    revision: str | None = Field(
        default=None,
        description="For hf:// a branch, tag or commit; pinned to a commit when the plan is made.",
    )
    fresh: FreshModel | None = Field(
        default=None, description="Instead of a base: a model with random weights, to pretrain."
    )
    optimizer: bool = Field(
        default=False,
        description=(
            "Go on from the newest checkpoint of the job that made the base, with the optimizer's "
            "moments and the weights they belong to; for models:// and job://."
        ),
    )

    @model_validator(mode="after")
    def _one_start(self) -> ModelSpec:
        if (self.base is None) == (self.fresh is None):
            raise SpecError(
                "give either `base` or `fresh`",
                field="base",
                hint="base: hf://org/name for a pretrained model, fresh: {…} for random weights",
            )
        return self

    @property
    def named(self) -> str:
        """The base by its name; for models that have one."""
        assert self.base is not None, "a fresh model has no name"
        return self.base

    @property
    def shown(self) -> str:
        """What a person reads."""
        return self.fresh.shown if self.fresh is not None else self.named
