"""Machine-learning tasks; each names its default columns and metrics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from orchestrator.specs.base import SpecModel
from orchestrator.specs.classification import TextClassification as TextClassification
from orchestrator.specs.classification import classification_columns
from orchestrator.specs.metrics import PROBLEM_METRICS, TASK_METRICS, TaskMetrics
from orchestrator.specs.runtime import ScriptPath, VariableName

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


class MaskedLm(SpecModel):
    """Hidden tokens of a text, by an encoder; needs no labels."""

    type: Literal["masked-lm"] = Field(description="The tokens of a text that are hidden.")
    masked_share: float = Field(
        default=0.15, gt=0, le=0.9, description="Tokens of a text that are to be found."
    )


class Denoising(SpecModel):
    """Hidden spans of a text, by an encoder-decoder; needs no labels."""

    type: Literal["denoising"] = Field(description="The spans of a text that are hidden.")
    objective: Literal["spans", "infill"] | None = Field(
        default=None,
        description=(
            "spans: each span is a numbered sentinel, the spans alone are written (T5); infill: "
            "each is one mask, the whole text is written (BART); absent: spans for a T5."
        ),
    )
    masked_share: float | None = Field(
        default=None,
        gt=0,
        le=0.9,
        description="Tokens of a text that are hidden; absent: 0.15 of spans, 0.3 of infill.",
    )
    mean_span: float = Field(default=3.0, ge=1, description="Tokens of a hidden span, on average.")


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
    TextClassification
    | CausalLm
    | MaskedLm
    | Denoising
    | Translation
    | Summarization
    | SeveralTasks
    | CustomTask,
    Field(discriminator="type", description="What the model learns to do."),
]


UNLABELLED_TASKS = (MaskedLm, Denoising)
"""Tasks whose model finds again what was hidden of a text: what `pretrain` alone learns."""

LANGUAGE_TASKS = (CausalLm, Translation, Summarization, *UNLABELLED_TASKS)
"""Tasks whose model predicts tokens."""


def publishes(task: TaskSpec) -> bool:
    """Whether a job of this task has succeeded only once its model is published."""
    return task.publishes if isinstance(task, CustomTask) else True


MESSAGES = "messages"
"""The role whose values are lists of chat messages."""

TASK_COLUMNS: dict[str, dict[str, str]] = {
    "text-classification": {"text": "text", "label": "label"},
    "causal-lm": {"text": "text"},
    "masked-lm": {"text": "text"},
    "denoising": {"text": "text"},
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
    if isinstance(task, TextClassification):
        return classification_columns(task)
    return TASK_COLUMNS.get(task.type, {})


def metrics_of(task: TaskSpec) -> TaskMetrics | None:
    """What is measured of a task; None where its script measures."""
    if isinstance(task, TextClassification):
        return PROBLEM_METRICS[task.kind]
    return TASK_METRICS.get(task.type)
