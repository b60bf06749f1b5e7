"""Ways to run a job on hardware that need not be here: `plan --hardware` shows them.

Made by `options`; sizes are estimates in bytes, times in seconds, a cost in the currency of the
prices that the operator set. How they are found is told in docs/plan.md.
"""

from __future__ import annotations

from pydantic import Field

from orchestrator.control.admission.records import (
    Offload,
    PlanReason,
    Precision,
    StepPlan,
    StepSeconds,
    Strategy,
    WorkerMemory,
    ZeroStage,
)
from orchestrator.inspect.facts import Facts
from orchestrator.inspect.model import ModelFacts
from orchestrator.records import Record


class EngineOption(Facts):
    """One way to run a job on one fleet, with the largest micro-batch that fits."""

    strategy: Strategy
    zero_stage: ZeroStage
    offload: Offload
    gradient_checkpointing: bool
    micro_batch_size: int
    accumulation: int = Field(description="Micro-batches of one step and worker.")
    memory: WorkerMemory = Field(description="Of a GPU, at its peak.")
    gpu_bytes: int = Field(description="Total of `memory`.")
    node_bytes: int = Field(description="Host memory of a machine, in training.")
    short_gpu_bytes: int = Field(description="What a GPU has too little; 0 where it fits.")
    short_node_bytes: int = Field(description="What a machine has too little; 0 where it fits.")
    step: StepSeconds
    step_seconds: float
    total_seconds: float = Field(description="Of the whole job.")
    tokens_per_second: float = Field(description="Of the whole gang in training.")
    cost: float | None = Field(default=None, description="Absent without a price.")

    @property
    def fits(self) -> bool:
        return self.short_gpu_bytes == 0 and self.short_node_bytes == 0


class FleetPlan(Facts):
    """Every way to run a job on one fleet."""

    hardware: str = Field(description="As it is written: 2x8xA100-80GB.")
    nodes: int
    gpus_per_node: int
    accelerator: str
    workers: int = Field(description="GPUs that are used, a worker each.")
    cpus_per_worker: int
    gpu_limit_bytes: int = Field(description="What may be used of a GPU's memory.")
    node_limit_bytes: int = Field(description="What may be used of a machine's host memory.")
    price_per_gpu_hour: float | None = None
    basis: str = Field(description="The speed that is assumed.")
    reasons: tuple[PlanReason, ...] = Field(description="Why nothing can run there, if so.")
    warnings: tuple[str, ...] = ()
    options: tuple[EngineOption, ...] = Field(description="From the plainest to the most frugal.")
    recommended: int | None = Field(description="Index of the option to take.")
    why: str = Field(description="Why that one; or what is missing.")

    @property
    def choice(self) -> EngineOption | None:
        return None if self.recommended is None else self.options[self.recommended]


class HardwarePlan(Record):
    """The ways to run a job on each fleet that was asked for."""

    name: str = Field(description="Of the job.")
    base: str
    model: ModelFacts
    method: str
    precision: Precision
    total_parameters: int
    trainable_parameters: int
    global_batch_size: int
    steps: StepPlan = Field(description="Of the training; `accumulation` is each option's own.")
    warnings: tuple[str, ...]
    fleets: tuple[FleetPlan, ...]

    @property
    def fits(self) -> bool:
        """Whether the job can run on any of them."""
        return any(fleet.recommended is not None for fleet in self.fleets)
