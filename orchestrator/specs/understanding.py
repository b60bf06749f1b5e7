"""What is looked into beyond a split's figures: slices of it, and the words behind decisions.

Part of `evaluation`; a name within `evaluation.slices` is a way of cutting a split into groups.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from orchestrator.specs.base import SpecError, SpecModel

SliceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Term = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class SliceSpec(SpecModel):
    """One way to cut a test split into groups whose figures are compared."""

    column: str | None = Field(
        default=None,
        min_length=1,
        description="A column of the test rows, which no model sees: a group for each value.",
    )
    terms: dict[SliceName, tuple[Term, ...]] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Group -> words, e.g. {women: [she, her]}: the rows whose text holds one of them, as a "
            "whole word in any case."
        ),
    )
    lengths: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Numbers of words at which bands of lengths begin, e.g. [10, 30].",
    )
    label: bool = Field(default=False, description="A group for each label.")

    @model_validator(mode="after")
    def _one_way(self) -> SliceSpec:
        given = [self.column, self.terms, self.lengths, self.label or None]
        if sum(value is not None for value in given) != 1:
            raise SpecError(
                "give exactly one of `column`, `terms`, `lengths` and `label`",
                hint="e.g. {column: country}, {lengths: [10, 30]} or {label: true}",
            )
        if self.lengths is not None and list(self.lengths) != sorted(set(self.lengths)):
            raise SpecError(
                "bands must begin at growing lengths", field="lengths", hint="e.g. [10, 30, 100]"
            )
        if self.terms is not None:
            for group, words in self.terms.items():
                if not words:
                    raise SpecError(
                        f"the group {group} has no words", field="terms", hint="list its words"
                    )
        return self


class ExplanationsSpec(SpecModel):
    """Which decisions are explained."""

    samples_per_class: int = Field(
        default=5, ge=1, le=200, description="Test rows of each domain and class, evenly spread."
    )
    worst_errors: int = Field(
        default=10,
        ge=0,
        le=200,
        description="Rows of each domain that were decided wrongly with the most confidence.",
    )


def slice_columns(slices: dict[SliceName, SliceSpec] | None) -> tuple[str, ...]:
    """The columns that slices name, each once, in order."""
    found = [entry.column for entry in (slices or {}).values() if entry.column is not None]
    return tuple(dict.fromkeys(found))
