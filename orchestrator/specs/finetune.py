"""The `FineTune` spec: one base, one task, some domains, one published model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from orchestrator.specs.base import DnsLabel, SpecModel
from orchestrator.specs.data import DataSpec
from orchestrator.specs.method import FullMethod, MethodSpec
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.runtime import RuntimeSpec
from orchestrator.specs.task import TaskSpec
from orchestrator.specs.tasks import TaskEntry, TaskName
from orchestrator.specs.training import (
    CheckpointSpec,
    EngineSpec,
    EvaluationSpec,
    OutputSpec,
    ResourcesSpec,
    SchedulingSpec,
    SelectionSpec,
    TrainingSpec,
)

API_VERSION = "finetune.orchestrator/v1alpha1"

LABEL_KEY_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?$"

LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]


class Metadata(SpecModel):
    """Who the job is; never changes what is learned."""

    name: DnsLabel = Field(description="Name of the job: a DNS label.")
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="Free labels to find the job by."
    )


def _task_or_tasks(schema: dict[str, Any]) -> None:
    """In the published schema one of both is required."""
    schema["required"] = [name for name in schema["required"] if name != "task"]
    schema["anyOf"] = [{"required": ["task"]}, {"required": ["tasks"]}]


class FineTuneSpec(SpecModel):
    """The body of a FineTune."""

    model_config = ConfigDict(json_schema_extra=_task_or_tasks)

    @model_validator(mode="before")
    @classmethod
    def _several_tasks(cls, value: Any) -> Any:
        """`tasks` says what `task` would: everything that asks for its type finds one."""
        if isinstance(value, dict) and value.get("tasks") and value.get("task") is None:
            return {**value, "task": {"type": "multi-task"}}
        return value

    model: ModelSpec | None = Field(
        default=None, description="The base model; absent: none, for a custom task alone."
    )
    task: TaskSpec
    tasks: dict[TaskName, TaskEntry] | None = Field(
        default=None,
        min_length=2,
        description=(
            "Several tasks over one base instead of `task`, by name; with method.type: multi_task."
        ),
    )
    data: DataSpec = Field(description="Domains, splits and what to learn from.")
    method: MethodSpec = Field(
        default_factory=lambda: FullMethod(type="full"), description="How the weights change."
    )
    training: TrainingSpec = Field(default_factory=TrainingSpec, description="The learning itself.")
    engine: EngineSpec = Field(default_factory=EngineSpec, description="How it fits the machine.")
    resources: ResourcesSpec = Field(
        default_factory=ResourcesSpec, description="What the gang gets."
    )
    scheduling: SchedulingSpec = Field(
        default_factory=SchedulingSpec, description="How the job stands among others."
    )
    checkpoint: CheckpointSpec = Field(
        default_factory=CheckpointSpec, description="When resumable state is saved."
    )
    selection: SelectionSpec = Field(
        default_factory=SelectionSpec, description="Which weights are published."
    )
    evaluation: EvaluationSpec = Field(
        default_factory=EvaluationSpec, description="What is measured at the end."
    )
    runtime: RuntimeSpec = Field(
        default_factory=RuntimeSpec, description="Code, variables and secrets for the workers."
    )
    output: OutputSpec = Field(
        default_factory=OutputSpec, description="Where the model is published."
    )


class FineTune(SpecModel):
    """A fine-tuning job as a user writes it."""

    apiVersion: Literal["finetune.orchestrator/v1alpha1"] = Field(  # noqa: N815 (Kubernetes' spelling)
        description="Version of the spec's format."
    )
    kind: Literal["FineTune"] = Field(description="Kind of the spec.")
    metadata: Metadata = Field(description="Who the job is.")
    spec: FineTuneSpec = Field(description="What the job does.")
