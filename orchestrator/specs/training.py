"""What is learned (training, selection, evaluation) and how it fits (engine, resources)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from orchestrator.specs.base import DnsLabel, SpecError, SpecModel
from orchestrator.specs.batching import BatchingSpec
from orchestrator.specs.deepspeed import DeepSpeedSpec
from orchestrator.specs.gates import GateSpec
from orchestrator.specs.metrics import MetricName, MetricPath
from orchestrator.specs.runtime import CustomMetricName, EntryPoint
from orchestrator.specs.understanding import ExplanationsSpec, SliceName, SliceSpec


class EarlyStopping(SpecModel):
    """Stop when the selection metric no longer improves."""

    patience: int = Field(ge=1, description="Evaluations without improvement before training ends.")
    min_delta: float = Field(
        default=0.0, ge=0, description="Least change that counts as improvement."
    )


class TrainingSpec(SpecModel):
    """The learning itself: all of it is part of the run's identity."""

    epochs: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Passes over the training rows; absent: 3, or by max_steps.",
    )
    max_steps: int | None = Field(
        default=None, ge=1, description="Optimizer steps, instead of epochs."
    )
    learning_rate: float = Field(default=5.0e-5, gt=0, le=10, description="Peak learning rate.")
    global_batch_size: int = Field(
        default=32, ge=1, description="Rows in one optimizer step over all workers."
    )
    max_length: int = Field(
        default=128, ge=4, description="Tokens a text is cut to, special tokens included."
    )
    max_target_length: int | None = Field(
        default=None,
        ge=2,
        description=(
            "Tokens a translation or summary is cut to, special tokens included; "
            "absent: max_length."
        ),
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        default="fp32", description="Arithmetic of the model; tf32 and fp16 need a GPU."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Seed of order, dropout and new weights."
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="Learning rate after the warm-up."
    )
    warmup_ratio: float | None = Field(
        default=None, ge=0, lt=1, description="Share of all steps spent warming up; absent: 0.06."
    )
    warmup_steps: int | None = Field(
        default=None, ge=0, description="Warm-up in steps instead of a ratio."
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's decoupled weight decay.")
    max_grad_norm: float = Field(
        default=1.0, ge=0, description="Global gradient norm is clipped to this; 0 does not clip."
    )
    batching: BatchingSpec | None = Field(
        default=None,
        description="How rows become batches; absent: in random order, padded to the longest.",
    )
    layer_decay: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Learning rate of each layer as a share of the one above it; absent: 1.",
    )
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW's first moment decay.")
    adam_beta2: float = Field(default=0.999, ge=0, lt=1, description="AdamW's second moment decay.")
    adam_epsilon: float = Field(default=1e-8, gt=0, description="AdamW's denominator term.")
    early_stopping: EarlyStopping | None = Field(
        default=None, description="End early by the selection metric; absent: never."
    )
    loss: EntryPoint | None = Field(
        default=None,
        description=(
            "Function of runtime.code that gives the mean loss of some rows, module:function; "
            "absent: the task's."
        ),
    )

    @property
    def packs(self) -> bool:
        """Whether rows lie side by side in the batches of training."""
        return self.batching is not None and self.batching.packing

    @model_validator(mode="after")
    def _exclusive(self) -> TrainingSpec:
        if self.epochs is not None and self.max_steps is not None:
            raise SpecError(
                "give either `epochs` or `max_steps`, not both",
                field="max_steps",
                hint="remove one of them (--set training.epochs=null removes it)",
            )
        if self.warmup_ratio is not None and self.warmup_steps is not None:
            raise SpecError(
                "give either `warmup_ratio` or `warmup_steps`, not both",
                field="warmup_steps",
                hint="remove one of them",
            )
        return self


class EngineSpec(SpecModel):
    """How the training fits the machine; never changes what is learned."""

    strategy: Literal["deepspeed", "ddp"] = Field(
        default="deepspeed",
        description="deepspeed (ZeRO), or plain data parallelism by torch's DDP.",
    )
    zero_stage: Literal[0, 1, 2, 3] | None = Field(
        default=None, description="What ZeRO shards over the workers; absent: the plan chooses."
    )
    micro_batch_size: int | None = Field(
        default=None, ge=1, description="Rows a worker holds at once; absent: the plan chooses."
    )
    gradient_checkpointing: bool | None = Field(
        default=None, description="Recompute activations to save memory; absent: the plan chooses."
    )
    offload: Literal["none", "optimizer", "parameters"] | None = Field(
        default=None,
        description=(
            "What DeepSpeed keeps in host memory instead of the GPU's; absent: the plan chooses."
        ),
    )
    attention: Literal["flash_attention_2", "sdpa", "eager"] | None = Field(
        default=None,
        description="How attention is computed; absent: the fastest that is installed and fits.",
    )
    deepspeed: DeepSpeedSpec | None = Field(
        default=None, description="DeepSpeed's own settings of how bytes move; absent: its own."
    )


class ResourcesSpec(SpecModel):
    """What the gang gets."""

    workers: int = Field(default=1, ge=1, description="Rank processes that train together.")
    min_workers: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Fewest workers it also trains with: an attempt whose gang finds no room is made with "
            "fewer that divide the global batch; absent: workers."
        ),
    )
    patience_seconds: float | None = Field(
        default=None,
        ge=0,
        description=(
            "How long an attempt waits for room for all workers before fewer are taken; absent: "
            "300. Where all could never fit, fewer are taken at once."
        ),
    )
    cpus_per_worker: int = Field(default=1, ge=1, description="CPU cores of one worker.")
    gpus_per_worker: int = Field(default=0, ge=0, le=1, description="GPUs of one worker, 0 or 1.")
    memory_gb_per_worker: float | None = Field(
        default=None,
        gt=0,
        description="Host memory of one worker in GB (1e9 bytes); absent: by the plan.",
    )
    accelerator: str | None = Field(
        default=None, description="Kind of GPU, e.g. A100-80GB; absent: any."
    )


class SchedulingSpec(SpecModel):
    """How the job stands among others."""

    queue: DnsLabel = Field(default="default", description="Where the job waits.")
    priority: Literal["low", "normal", "high", "urgent"] = Field(
        default="normal",
        description="Order among waiting jobs; a higher one may preempt a lower one.",
    )
    after: tuple[str, ...] = Field(
        default=(), description="Jobs, by id or name, that must have succeeded before this starts."
    )
    node_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels a node must have to be used."
    )
    pre_running_seconds: float | None = Field(
        default=None, gt=0, description="Fails the job if it is not running by then; absent: never."
    )
    active_seconds: float | None = Field(
        default=None, gt=0, description="Ends the job after running so long; absent: never."
    )
    hang_seconds: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Restarts the gang when no step was taken for so long; absent: the operator's setting."
        ),
    )
    ttl_seconds_after_finished: float | None = Field(
        default=None, ge=0, description="Deletes the job's record so long after it ended."
    )


class CheckpointSpec(SpecModel):
    """When resumable state is saved, and how much of it is kept."""

    every_steps: int | None = Field(default=None, ge=1, description="Save each n optimizer steps.")
    every_minutes: float | None = Field(
        default=None, gt=0, description="Save by time; absent (and no every_steps): 20."
    )
    asynchronous: bool | None = Field(
        default=None,
        description=(
            "Whether training waits only for a copy in memory, and not until it is written; "
            "absent: where the copy fits."
        ),
    )
    keep: int = Field(
        default=2, ge=1, description="Complete checkpoints kept; older ones are deleted."
    )

    @model_validator(mode="after")
    def _exclusive(self) -> CheckpointSpec:
        if self.every_steps is not None and self.every_minutes is not None:
            raise SpecError(
                "give either `every_steps` or `every_minutes`, not both",
                field="every_minutes",
                hint="remove one of them",
            )
        return self


class SelectionSpec(SpecModel):
    """Which weights are published."""

    metric: MetricPath | None = Field(
        default=None,
        description=(
            "domain/metric read on valid, or mean/metric over train_on; "
            "absent: mean of the task's main metric."
        ),
    )
    mode: Literal["max", "min"] | None = Field(
        default=None, description="Whether more is better; absent: by the metric."
    )
    last: bool = Field(default=False, description="Publish the last weights, not the best.")
    every_steps: int | None = Field(
        default=None, ge=1, description="Evaluate on valid each n steps; absent: after each epoch."
    )


class GenerationSpec(SpecModel):
    """How a model writes the texts that BLEU, chrF and ROUGE judge: by beam search, never drawn."""

    max_samples: int = Field(
        default=200, ge=1, description="Rows of each test split that are generated for, at most."
    )
    batch_size: int = Field(default=16, ge=1, description="Texts a worker generates at once.")
    max_new_tokens: int | None = Field(
        default=None, ge=1, description="Longest text generated; absent: max_target_length."
    )
    num_beams: int = Field(default=1, ge=1, le=64, description="Beams kept; 1 is greedy search.")
    length_penalty: float = Field(
        default=1.0, description="Beam search favours long texts above 0, short ones below."
    )
    no_repeat_ngram_size: int = Field(
        default=0, ge=0, description="Word sequences of so many tokens come only once; 0: no limit."
    )


class EvaluationSpec(SpecModel):
    """What is measured on the test splits."""

    metrics: tuple[MetricName, ...] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Metrics of the final table, in order; absent: the task's. All are computed and stored."
        ),
    )
    custom_metrics: dict[CustomMetricName, EntryPoint] | None = Field(
        default=None,
        min_length=1,
        description=(
            "More metrics, name -> function of runtime.code as module:function; they stand behind "
            "the others and may be selected by."
        ),
    )
    before: bool = Field(
        default=True, description="Also evaluate the untrained start, so that gains are seen."
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Rows a worker evaluates at once; absent: 64, or 8 where every token is predicted."
        ),
    )
    generation: GenerationSpec | None = Field(
        default=None,
        description="How texts are generated for the metrics that compare texts; absent: greedily.",
    )
    gates: tuple[GateSpec, ...] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Conditions read on valid: a version that meets all of them gets the alias promoted."
        ),
    )
    bootstrap_samples: int = Field(
        default=1000,
        ge=0,
        le=100_000,
        description="Resamples for the confidence intervals; 0: none.",
    )
    slices: dict[SliceName, SliceSpec] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Ways to cut the test rows into groups whose figures are compared: by a column, by "
            "terms, by lengths or by label."
        ),
    )
    explain: bool | None = Field(
        default=None,
        description=(
            "Publish which words carry the decisions, with the model (explanations.html); "
            "absent: no."
        ),
    )
    explanations: ExplanationsSpec | None = Field(
        default=None, description="Which decisions are explained, with explain: true."
    )

    @property
    def shown_metrics(self) -> tuple[str, ...]:
        """Of the final table, in order; none where the plan has not chosen them yet."""
        return (*(self.metrics or ()), *(self.custom_metrics or ()))


class OutputSpec(SpecModel):
    """Where the model is published."""

    store: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "Object store: a folder, file:///…, s3://bucket/prefix, gs:// or az://; "
            "absent: the setting's."
        ),
    )
    name: DnsLabel | None = Field(
        default=None, description="Name of the published model; absent: the job's name."
    )
