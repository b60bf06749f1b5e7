"""What a gang holds in memory, and what other stages would come to. Called by `plan`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from orchestrator.control.admission.machine import Machine, host_bytes_of_worker
from orchestrator.control.admission.memory import (
    RUNTIME_BYTES,
    MemoryCase,
    host_load_bytes,
    host_worker_bytes,
    worker_memory,
)
from orchestrator.control.admission.records import MemoryPlan, Precision, StageMemory


def gang_memory(machine: Machine, case: MemoryCase, held: int) -> MemoryPlan:
    worker = worker_memory(case)
    return MemoryPlan(
        device="gpu" if case.on_gpu else "cpu",
        worker=worker,
        worker_bytes=worker.total_bytes,
        host_worker_bytes=host_worker_bytes(case, worker),
        host_load_bytes=host_load_bytes(case),
        runtime_bytes=RUNTIME_BYTES,
        snapshot_bytes=held,
        host_bytes=case.workers * (host_bytes_of_worker(case) + held) + RUNTIME_BYTES,
        host_limit_bytes=machine.host_limit_bytes,
        host_available_bytes=machine.hardware.available_memory_bytes,
        gpu_limit_bytes=machine.gpu_limit_bytes if case.on_gpu else None,
        by_stage=tuple(_by_stage(case)),
    )


def _by_stage(case: MemoryCase) -> Iterator[StageMemory]:
    """The same job with every other stage and precision."""
    full: Precision = "tf32" if case.precision == "tf32" else "fp32"
    precisions: tuple[Precision, ...] = (full, "bf16", "fp16")
    for precision in precisions if case.on_gpu else precisions[:2]:
        for stage in (0, 1, 2, 3):
            other = replace(
                case,
                strategy="deepspeed",
                zero_stage=stage,
                precision=precision,
                offload=case.offload if stage == case.zero_stage else "none",
            )
            yield StageMemory(
                strategy="deepspeed",
                zero_stage=stage,
                precision=precision,
                worker_bytes=worker_memory(other).total_bytes,
                chosen=other == case,
            )
    if case.strategy == "ddp":
        total = worker_memory(case).total_bytes
        yield StageMemory(
            strategy="ddp",
            zero_stage=0,
            precision=case.precision,
            worker_bytes=total,
            chosen=True,
        )
