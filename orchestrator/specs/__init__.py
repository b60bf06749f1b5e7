"""What a user may write. Pure pydantic models; nothing heavy is imported here."""

from orchestrator.specs.data import SPLITS, DataSpec, Domain, Source, Split, training_domains
from orchestrator.specs.finetune import API_VERSION, FineTune, FineTuneSpec, Metadata
from orchestrator.specs.method import FreezeMethod, FullMethod, MethodSpec
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.runtime import RuntimeSpec
from orchestrator.specs.task import DEFAULT_COLUMNS, CustomTask, TaskSpec, TextClassification
from orchestrator.specs.training import (
    METRICS_TO_MINIMIZE,
    CheckpointSpec,
    EarlyStopping,
    EngineSpec,
    EvaluationSpec,
    OutputSpec,
    ResourcesSpec,
    SchedulingSpec,
    SelectionSpec,
    TrainingSpec,
)

__all__ = [
    "API_VERSION",
    "DEFAULT_COLUMNS",
    "METRICS_TO_MINIMIZE",
    "SPLITS",
    "CheckpointSpec",
    "CustomTask",
    "DataSpec",
    "Domain",
    "EarlyStopping",
    "EngineSpec",
    "EvaluationSpec",
    "FineTune",
    "FineTuneSpec",
    "FreezeMethod",
    "FullMethod",
    "Metadata",
    "MethodSpec",
    "ModelSpec",
    "OutputSpec",
    "ResourcesSpec",
    "RuntimeSpec",
    "SchedulingSpec",
    "SelectionSpec",
    "Source",
    "Split",
    "TaskSpec",
    "TextClassification",
    "TrainingSpec",
    "training_domains",
]
