"""Machine-learning tasks; each names its default columns and metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from orchestrator.specs.base import SpecModel
from orchestrator.specs.runtime import ScriptPath, VariableName


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


class CustomTask(SpecModel):
    """A script of the user's own, run by every worker of the gang."""

    type: Literal["custom"] = Field(description="A script of runtime.code decides what is learned.")
    entrypoint: ScriptPath = Field(
        description="The script, as a path within runtime.code, e.g. train.py."
    )
    arguments: dict[VariableName, str] = Field(
        default_factory=dict,
        description=(
            "The script's arguments: {steps: '40'} is --steps 40; empty text is a switch, --steps."
        ),
    )
    publishes: bool = Field(
        default=True,
        description="Whether the job has failed where the script ends without publishing a model.",
    )


TaskSpec = Annotated[
    TextClassification | CustomTask,
    Field(discriminator="type", description="What the model learns to do."),
]


def publishes(task: TextClassification | CustomTask) -> bool:
    """Whether a job of this task has succeeded only once its model is published."""
    return task.publishes if isinstance(task, CustomTask) else True


DEFAULT_COLUMNS: dict[str, dict[str, str]] = {
    "text-classification": {"text": "text", "label": "label"},
}
"""By task: the role a column plays -> the column's name where `columns` does not say otherwise.

A custom task has none: its script reads the files itself."""
