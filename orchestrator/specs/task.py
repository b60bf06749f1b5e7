"""Machine-learning tasks; each names its default columns and metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from orchestrator.specs.base import SpecError, SpecModel
from orchestrator.specs.runtime import ScriptPath, VariableName


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
    class_weights: ClassWeights | None = Field(
        default=None,
        description="How much the loss of a row counts by its label; absent: all alike.",
    )


SOURCE_PLACE, TEXT_PLACE = "{source}", "{text}"


class Translation(SpecModel):
    """Text in one language into another, by an encoder-decoder or, prompted, by a causal model."""

    type: Literal["translation"] = Field(description="Text in one language into another.")
    source_language: str | None = Field(
        default=None,
        min_length=1,
        description="Code of the source language as the tokenizer of a multilingual base has it.",
    )
    target_language: str | None = Field(
        default=None, min_length=1, description="Code of the target language, likewise."
    )
    prompt: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "What the model reads, with {source} in it; "
            "absent: the source alone, or for a causal model the source and an arrow."
        ),
    )


class Summarization(SpecModel):
    """A text into a shorter one, by an encoder-decoder or, prompted, by a causal model."""

    type: Literal["summarization"] = Field(description="A text into a shorter one.")
    prompt: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "What the model reads, with {text} in it; "
            "absent: the text alone, or for a causal model the text and 'TL;DR:'."
        ),
    )


class CausalLm(SpecModel):
    """The next token of a text, by a causal model."""

    type: Literal["causal-lm"] = Field(description="The next token of a text.")
    rows: Literal["text", "completion", "chat"] = Field(
        default="text",
        description=(
            "text: all of a text is learned; completion: a prompt is read, its completion learned; "
            "chat: messages in the model's chat template, what the assistant says is learned."
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


class SeveralTasks(SpecModel):
    """Several tasks over one base: those of `tasks`, which stands in the place of `task`."""

    type: Literal["multi-task"] = Field(
        description="Several tasks: those of `tasks`. Meant wherever `tasks` is given."
    )


TaskSpec = Annotated[
    TextClassification | CausalLm | Translation | Summarization | SeveralTasks | CustomTask,
    Field(discriminator="type", description="What the model learns to do."),
]


LANGUAGE_TASKS = (CausalLm, Translation, Summarization)
"""Tasks whose model predicts tokens."""


def publishes(task: TaskSpec) -> bool:
    """Whether a job of this task has succeeded only once its model is published."""
    return task.publishes if isinstance(task, CustomTask) else True


MESSAGES = "messages"
"""The role whose values are lists of chat messages."""

TASK_COLUMNS: dict[str, dict[str, str]] = {
    "text-classification": {"text": "text", "label": "label"},
    "causal-lm": {"text": "text"},
    "translation": {"source": "source", "target": "target"},
    "summarization": {"text": "text", "summary": "summary"},
}
"""By task: the role a column plays -> the column's name where `columns` does not say otherwise.

A custom task has none: its script reads the files itself."""

_CAUSAL_COLUMNS = {
    "text": TASK_COLUMNS["causal-lm"],
    "completion": {"prompt": "prompt", "completion": "completion"},
    "chat": {MESSAGES: MESSAGES},
}


def default_columns(task: TaskSpec) -> dict[str, str]:
    """Role -> name of its column, as the task reads its rows; nothing for a custom task."""
    if isinstance(task, CausalLm):
        return _CAUSAL_COLUMNS[task.rows]
    return TASK_COLUMNS.get(task.type, {})
