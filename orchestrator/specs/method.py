"""Methods: how the weights change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.specs.base import SpecError, SpecModel


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


MethodSpec = Annotated[
    FullMethod | FreezeMethod,
    Field(discriminator="type", description="How the weights change."),
]
