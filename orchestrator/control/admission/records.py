"""The Plan and its parts: admission's answer before anything starts.

`server` makes it, `orchestrator plan` shows it, `run` obeys it. Sizes are estimates in bytes, times
in seconds; how they are found is told in docs/plan.md.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestrator.inspect.facts import Facts
from orchestrator.inspect.hardware import HardwareFacts
from orchestrator.inspect.model import ModelFacts
from orchestrator.records import Identity, Record
from orchestrator.specs import FineTune, Split

Strategy = Literal["deepspeed", "ddp"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Offload = Literal["none", "optimizer", "parameters"]
ZeroStage = Literal[0, 1, 2, 3]


class PlanReason(Facts):
    """Why a job cannot run, and the change of one field that would let it."""

    path: str = Field(description="Field of the spec, without the leading `spec.`.")
    message: str
    change: str
    of_machine: bool = Field(default=False, description="Whether another machine could run it.")


class Choice(Facts):
    """A field the spec left to the plan."""

    path: str
    value: str
    why: str


class WorkerMemory(Facts):
    """Bytes of one worker at its peak; on a GPU those of the GPU. The parts add up to the total."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int = Field(description="AdamW's moments and the fp32 copy it updates.")
    activations_bytes: int
    logits_bytes: int
    buffers_bytes: int = Field(description="Communication buckets, temporaries of the update.")
    process_bytes: int = Field(description="Interpreter and libraries; on a GPU its context.")

    @property
    def total_bytes(self) -> int:
        return (
            self.weights_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.activations_bytes
            + self.logits_bytes
            + self.buffers_bytes
            + self.process_bytes
        )


class StageMemory(Facts):
    """What a worker would need with another ZeRO stage or precision, all else equal."""

    strategy: Strategy
    zero_stage: ZeroStage
    precision: Precision
    worker_bytes: int
    chosen: bool = False


class MemoryPlan(Facts):
    """Memory of the gang."""

    device: Literal["cpu", "gpu"] = Field(description="Where model and activations are.")
    worker: WorkerMemory
    worker_bytes: int = Field(description="Total of `worker`.")
    host_worker_bytes: int = Field(description="Host memory of one worker while training.")
    host_load_bytes: int = Field(description="Host memory of one worker while it loads the base.")
    snapshot_bytes: int = Field(
        default=0, description="Beside both: the copy of a checkpoint until it is written."
    )
    runtime_bytes: int = Field(description="Ray, its helpers and the orchestrator itself.")
    host_bytes: int = Field(description="Host memory of everything together.")
    host_limit_bytes: int = Field(description="Memory of the machine, or of its control group.")
    host_available_bytes: int = Field(description="Of that, what is free now.")
    gpu_limit_bytes: int | None = Field(default=None, description="Memory of the smallest GPU.")
    by_stage: tuple[StageMemory, ...] = ()


class StepPlan(Facts):
    """How often weights are updated, and on how much text."""

    train_rows: int = Field(description="Rows of one epoch.")
    per_epoch: int
    total: int
    warmup: int
    epochs: float = Field(description="Passes over the training rows, also where steps are given.")
    accumulation: int = Field(description="Micro-batches of one step and worker.")
    tokens_per_row: float = Field(description="Mean that is computed, padding included.")
    tokens_per_step: int
    tokens: int = Field(description="Of the whole training.")
    tokens_measured: bool = Field(description="Counted on the rows, or assumed from max_length.")
    evaluations: int = Field(description="Passes over valid.")


class StepSeconds(Facts):
    """One optimizer step by what it is spent on; the parts add up, since nothing overlaps."""

    compute_seconds: float
    communication_seconds: float
    update_seconds: float
    offload_seconds: float = Field(description="Between GPU and host memory.")
    other_seconds: float

    @property
    def total_seconds(self) -> float:
        return (
            self.compute_seconds
            + self.communication_seconds
            + self.update_seconds
            + self.offload_seconds
            + self.other_seconds
        )


class TimePlan(Facts):
    """Seconds of each part; an estimate within a factor of two on an idle machine."""

    start_seconds: float
    before_seconds: float
    train_seconds: float
    valid_seconds: float
    checkpoint_seconds: float
    test_seconds: float
    publish_seconds: float
    total_seconds: float
    step_seconds: float
    samples_per_second: float
    basis: str = Field(description="The speed that is assumed, and where it is from.")


class CheckpointPlan(Facts):
    """What resumable state costs."""

    size_bytes: int
    count: int
    stall_seconds: float = Field(description="Training waits this long for each one.")
    upload_seconds: float = Field(description="Sent to the store behind the training.")


class DiskPlan(Facts):
    """Disk space of the job."""

    scratch_bytes: int
    model_bytes: int = Field(description="One published version.")
    checkpoints_bytes: int = Field(description="Kept checkpoints and the best weights so far.")
    store_is_local: bool
    needed_bytes: int = Field(description="On this machine's disk.")
    free_bytes: int


class SplitPlan(Facts):
    """A split as the job reads it."""

    domain: str
    split: Split
    num_rows: int
    class_counts: dict[str, int]
    label_mean: float | None = Field(default=None, description="Of a regression's labels.")
    label_std: float | None = Field(default=None, description="Their deviation.")
    held_out: bool = Field(description="Taken from train by data.valid_fraction.")
    truncated_share: float | None = Field(default=None, description="Rows that are cut.")


class DrawPlan(Facts):
    """What a domain contributes to an epoch; of a curriculum, to an epoch on average."""

    domain: str
    rows: int = Field(description="That it has to learn from.")
    drawn: int = Field(description="Rows of an epoch.")
    share: float = Field(description="Of all rows of an epoch.")
    replayed: bool = Field(default=False, description="By data.mixing.replay.")


class Estimates(Facts):
    """What a plan foretells of a job."""

    trainable_parameters: int
    total_parameters: int
    memory: MemoryPlan
    steps: StepPlan
    time: TimePlan
    checkpoint: CheckpointPlan
    disk: DiskPlan


class FewestPlan(Facts):
    """The job at its smallest: with `resources.min_workers`, or the next number that divides."""

    workers: int
    micro_batch_size: int
    worker_bytes: int
    host_worker_bytes: int = Field(description="Of one worker at its peak, in host memory.")
    total_seconds: float


class Plan(Record):
    """Admission's answer."""

    verdict: Literal["fits", "refused"]
    reasons: tuple[PlanReason, ...] = Field(description="Why it is refused; empty where it fits.")
    warnings: tuple[str, ...]
    choices: tuple[Choice, ...] = Field(description="What the plan chose.")
    spec: FineTune = Field(description="The resolved spec: nothing is absent that a worker needs.")
    identity: Identity
    model: ModelFacts | None
    hardware: HardwareFacts
    splits: tuple[SplitPlan, ...]
    draws: tuple[DrawPlan, ...] = Field(default=(), description="What each domain contributes.")
    # A custom task's script decides all of these itself; they are absent then, and all together.
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    memory: MemoryPlan | None = None
    steps: StepPlan | None = None
    time: TimePlan | None = None
    checkpoint: CheckpointPlan | None = None
    disk: DiskPlan | None = None
    fewest: FewestPlan | None = Field(
        default=None, description="With as few workers as it may have; absent: it has all or none."
    )

    @property
    def fits(self) -> bool:
        return self.verdict == "fits"

    @property
    def estimates(self) -> Estimates | None:
        """What is foretold; None for a custom task."""
        found = {name: getattr(self, name) for name in Estimates.model_fields}
        return None if None in found.values() else Estimates.model_construct(**found)
