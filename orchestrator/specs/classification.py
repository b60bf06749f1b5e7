"""The task of text classification: classes, sets of labels or numbers, of one text or of two."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from orchestrator.specs.base import SpecError, SpecModel

ProblemKind = Literal["single_label", "multi_label", "regression"]
Normalization = Literal["tokens", "characters", "none"]

TEXT, TEXT_PAIR = "text", "text_pair"
"""Roles of the texts of a row."""

SINGLE_LABEL: ProblemKind = "single_label"
MULTI_LABEL: ProblemKind = "multi_label"
REGRESSION: ProblemKind = "regression"

DEFAULT_THRESHOLD = 0.5

Label = Annotated[str, StringConstraints(min_length=1)]


class ClassWeights(SpecModel):
    """How much the loss of a row counts, by its label."""

    balanced: bool = Field(
        default=False,
        description="Weigh each label by how rarely it is drawn, so that all count alike.",
    )
    weights: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        default=None, min_length=2, description="Label -> weight, for every label."
    )

    @model_validator(mode="after")
    def _one_choice(self) -> ClassWeights:
        if self.balanced == (self.weights is not None):
            raise SpecError(
                "give either `balanced: true` or `weights`",
                hint="`balanced: true` weighs by the training rows, `weights: {rare: 3, common: 1}`"
                " as you say",
            )
        return self


class TextClassification(SpecModel):
    """Labels, or a number, of each text.

    What is absent has its default in a property: a field that old specs do not have must not
    change their identity.
    """

    type: Literal["text-classification"] = Field(description="Labels, or a number, of each text.")
    problem: ProblemKind | None = Field(
        default=None,
        description=(
            "What a row has: one label, any number of labels, or a number; absent: single_label."
        ),
    )
    pairs: bool | None = Field(
        default=None,
        description="Whether a row is two texts, in the columns text and text_pair; absent: one.",
    )
    labels: tuple[Label, ...] | None = Field(
        default=None,
        min_length=2,
        description=(
            "All labels in the order of the model's outputs; "
            "absent: those of the training data, sorted."
        ),
    )
    label_separator: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "What stands between the labels of a multi_label row whose column holds text; "
            "absent: rows hold lists."
        ),
    )
    class_weights: ClassWeights | None = Field(
        default=None,
        description="How much the loss of a row counts by its label; absent: all alike.",
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Probability from which multi_label gives a label; absent: 0.5.",
    )

    @property
    def kind(self) -> ProblemKind:
        return self.problem or SINGLE_LABEL

    @property
    def has_pairs(self) -> bool:
        return bool(self.pairs)

    @property
    def decides_from(self) -> float:
        """The probability from which a label of a multi-label row is given."""
        return self.threshold if self.threshold is not None else DEFAULT_THRESHOLD


def classification_columns(task: TextClassification) -> dict[str, str]:
    """Role -> name of its column where `columns` does not say otherwise."""
    pair = {TEXT_PAIR: TEXT_PAIR} if task.has_pairs else {}
    return {TEXT: TEXT, **pair, "label": "label"}
