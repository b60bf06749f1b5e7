"""Several tasks of one job: each a task with the domains it reads and what its loss counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator.specs.base import NAME_PATTERN, DomainName, SpecModel
from orchestrator.specs.task import CausalLm, Summarization, TextClassification, Translation

TaskName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Becomes a folder of the published model and the first part of keys: `topic/camera`."""


class TaskPart(SpecModel):
    """What a task of several has beside the fields of its type."""

    domains: tuple[DomainName, ...] = Field(
        min_length=1, description="Domains of data.domains that this task reads."
    )
    columns: dict[str, str] | None = Field(
        default=None,
        description=(
            "Role -> column name for this task, so that one domain serves several; "
            "a source's own columns come first."
        ),
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        description="What the task's loss counts beside those of the others.",
    )


class ClassificationPart(TextClassification, TaskPart):
    """Text classification as one of several tasks: a head of its own."""


class CausalPart(CausalLm, TaskPart):
    """Causal language modelling as one of several tasks: they share the base's head."""


class TranslationPart(Translation, TaskPart):
    """Translation as one of several tasks: they share the base's head."""


class SummarizationPart(Summarization, TaskPart):
    """Summarization as one of several tasks: they share the base's head."""


TaskEntry = Annotated[
    ClassificationPart | CausalPart | TranslationPart | SummarizationPart,
    Field(discriminator="type", description="One of the tasks."),
]
PLAIN = (TextClassification, CausalLm, Translation, Summarization)
"""The task that each entry is, without what it has beside."""
