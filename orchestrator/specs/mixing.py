"""How the domains of one job are mixed: which rows an epoch draws, and in which order."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.specs.base import DomainName, SpecError, SpecModel

Weight = Annotated[float, Field(gt=0)]


class StageSpec(SpecModel):
    """A part of a curriculum."""

    domains: tuple[DomainName, ...] = Field(
        min_length=1, description="Domains that this stage draws from, by their rows."
    )
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of all steps; absent in every stage: all last equally long.",
    )


class ReplaySpec(SpecModel):
    """Rows of other domains in every batch, against forgetting them."""

    domains: tuple[DomainName, ...] = Field(
        min_length=1,
        description="Domains outside of train_on whose train splits the rows are drawn from.",
    )
    fraction: float = Field(gt=0, lt=1, description="Their share of each batch.")


class MixingSpec(SpecModel):
    """Which rows an epoch draws of each domain."""

    strategy: Literal["proportional", "temperature", "equal", "weights", "curriculum"] = Field(
        default="proportional",
        description=(
            "proportional: every row once; temperature: rows ** (1 / temperature); equal: as many "
            "of each domain; weights: by `weights`; curriculum: one stage after the other."
        ),
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="Of the strategy temperature: 1 is proportional, large ones near equal.",
    )
    weights: dict[DomainName, Weight] | None = Field(
        default=None,
        min_length=1,
        description="Of the strategy weights: a domain's share of the rows that an epoch draws.",
    )
    stages: tuple[StageSpec, ...] | None = Field(
        default=None, min_length=1, description="Of the strategy curriculum: its stages, in order."
    )
    balance_classes: bool = Field(
        default=False,
        description=(
            "Draw rows of rare classes more often: in each domain every class as often as its "
            "most frequent one."
        ),
    )
    replay: ReplaySpec | None = Field(
        default=None, description="Rows of other domains in every batch, against forgetting."
    )

    @model_validator(mode="after")
    def _of_the_strategy(self) -> MixingSpec:
        own = {"temperature": "temperature", "weights": "weights", "curriculum": "stages"}
        for strategy, field in own.items():
            given = getattr(self, field) is not None
            if strategy == self.strategy and not given:
                hint = f"e.g. {field}: {_EXAMPLES[field]}"
                raise SpecError(f"strategy {strategy} needs `{field}`", field=field, hint=hint)
            if strategy != self.strategy and given:
                raise SpecError(
                    f"`{field}` is the strategy {strategy}'s, and strategy is {self.strategy}",
                    field=field,
                    hint=f"remove it, or write strategy: {strategy}",
                )
        return self


_EXAMPLES = {
    "temperature": "2.0",
    "weights": "{camera: 2, movie: 1}",
    "stages": "[{domains: [camera]}, {domains: [camera, movie]}]",
}
