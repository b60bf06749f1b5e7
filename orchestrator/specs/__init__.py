"""What a user may write. Pure pydantic models; nothing heavy is imported here."""

from orchestrator.specs.data import (
    SPLITS,
    DataSpec,
    Domain,
    Source,
    Split,
    drawn_domains,
    training_domains,
)
from orchestrator.specs.finetune import API_VERSION, FineTune, FineTuneSpec, Metadata
from orchestrator.specs.method import (
    AdapterMethod,
    FreezeMethod,
    FullMethod,
    LoraMethod,
    MethodSpec,
    MultiTaskMethod,
    PretrainMethod,
    QloraMethod,
)
from orchestrator.specs.metrics import METRICS_TO_MINIMIZE, TASK_METRICS
from orchestrator.specs.mixing import MixingSpec
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.runtime import RuntimeSpec
from orchestrator.specs.task import (
    CausalLm,
    CustomTask,
    Denoising,
    MaskedLm,
    SeveralTasks,
    Summarization,
    TaskSpec,
    TextClassification,
    Translation,
)
from orchestrator.specs.training import (
    CheckpointSpec,
    EarlyStopping,
    EngineSpec,
    EvaluationSpec,
    GenerationSpec,
    OutputSpec,
    ResourcesSpec,
    SchedulingSpec,
    SelectionSpec,
    TrainingSpec,
)
from orchestrator.specs.understanding import ExplanationsSpec, SliceSpec

__all__ = [
    "API_VERSION",
    "METRICS_TO_MINIMIZE",
    "SPLITS",
    "TASK_METRICS",
    "AdapterMethod",
    "CausalLm",
    "CheckpointSpec",
    "CustomTask",
    "DataSpec",
    "Denoising",
    "Domain",
    "EarlyStopping",
    "EngineSpec",
    "EvaluationSpec",
    "ExplanationsSpec",
    "FineTune",
    "FineTuneSpec",
    "FreezeMethod",
    "FullMethod",
    "GenerationSpec",
    "LoraMethod",
    "MaskedLm",
    "Metadata",
    "MethodSpec",
    "MixingSpec",
    "ModelSpec",
    "MultiTaskMethod",
    "OutputSpec",
    "PretrainMethod",
    "QloraMethod",
    "ResourcesSpec",
    "RuntimeSpec",
    "SchedulingSpec",
    "SelectionSpec",
    "SeveralTasks",
    "SliceSpec",
    "Source",
    "Split",
    "Summarization",
    "TaskSpec",
    "TextClassification",
    "TrainingSpec",
    "Translation",
    "drawn_domains",
    "training_domains",
]
