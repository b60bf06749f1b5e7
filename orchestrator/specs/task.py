"""Machine-learning tasks; each names its default columns and metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from orchestrator.specs.base import SpecModel


class TextClassification(SpecModel):
    """One label for each text."""

    type: Literal["text-classification"] = Field(description="One label for each text.")
    labels: tuple[Annotated[str, StringConstraints(min_length=1)], ...] | None = Field(
        default=None,
        min_length=2,
        description=(
            "All labels in the order of the model's outputs; "
            "absent: those of the training data, sorted."
        ),
    )


# A union of one today; the discriminator keeps the schema additive when tasks join it.
TaskSpec = Annotated[TextClassification, Field(description="What the model learns to do.")]

DEFAULT_COLUMNS: dict[str, dict[str, str]] = {
    "text-classification": {"text": "text", "label": "label"},
}
"""By task: the role a column plays -> the column's name where `columns` does not say otherwise."""
