"""The `FineTune` spec: one base, one task, some domains, one published model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from orchestrator.specs.base import DnsLabel, SpecModel
from orchestrator.specs.data import DataSpec
from orchestrator.specs.method import FullMethod, MethodSpec
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.runtime import RuntimeSpec
from orchestrator.specs.task import TaskSpec
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


class FineTuneSpec(SpecModel):
    """The body of a FineTune."""

    model: ModelSpec | None = Field(
        default=None, description="The base model; absent: none, for a custom task alone."
    )
    task: TaskSpec
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
