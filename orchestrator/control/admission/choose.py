"""What the plan chooses where the spec leaves the engine open: the fastest way that fits.

Ways are tried from the fastest to the most frugal: first the ZeRO stage that suits the gang, then
recomputed activations, then stage 3, then offloading; within each, large micro-batches first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from orchestrator.control.admission.memory import MemoryCase, worker_memory
from orchestrator.control.admission.records import Choice, Offload, ZeroStage
from orchestrator.specs import EngineSpec

MAX_MICRO_BATCH_CPU = 32  # larger ones are no faster on a CPU, and hold more activations
MAX_MICRO_BATCH_GPU = 256

Fits = Callable[[MemoryCase], bool]


@dataclass(frozen=True, slots=True)
class _Way:
    """A stage, recomputation and offloading; why it was taken."""

    zero_stage: ZeroStage
    checkpointing: bool
    offload: Offload
    why: str


def choose_engine(
    engine: EngineSpec, case: MemoryCase, global_batch_size: int, fits: Fits
) -> tuple[MemoryCase, tuple[Choice, ...]]:
    """The case with every open field chosen, and what was chosen.

    Where nothing fits it is the most frugal way: the refusal then speaks of the best that there is.

    Args:
        engine: The spec's; what it says is kept.
        case: With the engine's fields as far as they are given; the others are replaced.
        global_batch_size: Divided by the workers.
        fits: Whether a case fits the machine.
    """
    sizes = micro_batch_sizes(engine, case, global_batch_size)
    candidates = [
        (replace(_applied(case, way), micro_batch_size=size), way)
        for way in _ways(engine, case)
        for size in sizes
    ]
    chosen = next((entry for entry in candidates if fits(entry[0])), None)
    if chosen is None:
        chosen = min(candidates, key=lambda entry: worker_memory(entry[0]).total_bytes)
        case, way = (
            chosen[0],
            replace(chosen[1], why="the most frugal there is, yet it does not fit"),
        )
    else:
        case, way = chosen
    return case, tuple(_choices(engine, case, way, sizes[0]))


def micro_batch_sizes(engine: EngineSpec, case: MemoryCase, global_batch_size: int) -> list[int]:
    """Sizes that divide a worker's rows of a step, largest first; the spec's, if it has one."""
    if engine.micro_batch_size is not None:
        return [engine.micro_batch_size]
    rows = max(1, global_batch_size // case.workers)
    most = MAX_MICRO_BATCH_GPU if case.on_gpu else MAX_MICRO_BATCH_CPU
    return [size for size in range(min(rows, most), 0, -1) if rows % size == 0]


def _ways(engine: EngineSpec, case: MemoryCase) -> Iterator[_Way]:
    """Ways that agree with what the spec says, fastest first; at least one."""
    stages = _stages(engine, case)
    offloads = _offloads(engine, case)
    for offload in offloads:
        for stage in stages:
            if stage < _least_stage(offload):
                continue
            for checkpointing in _recomputations(engine):
                yield _Way(stage, checkpointing, offload, _why(case, stage, stages[0], offload))


def _stages(engine: EngineSpec, case: MemoryCase) -> list[ZeroStage]:
    if engine.strategy == "ddp":
        return [0]
    if engine.zero_stage is not None:
        return [engine.zero_stage]
    least = _least_stage(engine.offload or "none")
    preferred: list[ZeroStage] = [0, 2, 3] if case.workers == 1 else [2, 3]
    if case.keeps_weights_whole:
        preferred.remove(3)
    return [stage for stage in preferred if stage >= least]


def _recomputations(engine: EngineSpec) -> list[bool]:
    given = engine.gradient_checkpointing
    return [False, True] if given is None else [given]


def _offloads(engine: EngineSpec, case: MemoryCase) -> list[Offload]:
    if engine.offload is not None:
        return [engine.offload]
    if engine.strategy == "ddp" or not case.on_gpu:
        return ["none"]  # without a GPU there is nothing to move out of
    most = 2 if case.keeps_weights_whole else 3
    given = most if engine.zero_stage is None else engine.zero_stage
    options: tuple[Offload, ...] = ("none", "optimizer", "parameters")
    return [offload for offload in options if _least_stage(offload) <= given]


def _least_stage(offload: Offload) -> int:
    return {"none": 0, "optimizer": 1, "parameters": 3}[offload]


def _why(case: MemoryCase, stage: int, first: int, offload: Offload) -> str:
    if offload != "none":
        return "the GPU's memory is too small otherwise"
    if stage != first:
        return "a worker's memory is too small for less sharding"
    if case.workers == 1:
        return "one worker has nothing to shard with"
    return f"{case.workers} workers share optimizer and gradients"


def _applied(case: MemoryCase, way: _Way) -> MemoryCase:
    return replace(
        case,
        zero_stage=way.zero_stage,
        checkpointing=way.checkpointing,
        offload=way.offload,
    )


def _choices(engine: EngineSpec, case: MemoryCase, way: _Way, largest: int) -> Iterator[Choice]:
    def choice(field: str, value: object, why: str) -> Choice:
        return Choice(path=f"engine.{field}", value=str(value).lower(), why=why)

    if engine.zero_stage is None and engine.strategy == "deepspeed":
        yield choice("zero_stage", case.zero_stage, way.why)
    if engine.micro_batch_size is None:
        size = case.micro_batch_size
        fitting = size == largest
        why = "the largest that divides the batch" if fitting else "the largest that fits"
        yield choice("micro_batch_size", size, why)
    if engine.gradient_checkpointing is None:
        why = "saves memory that is needed" if case.checkpointing else "activations fit"
        yield choice("gradient_checkpointing", case.checkpointing, why)
    if engine.offload is None and case.on_gpu and engine.strategy == "deepspeed":
        why = "the GPU's memory is too small" if case.offload != "none" else "all fits the GPU"
        yield choice("offload", case.offload, why)
