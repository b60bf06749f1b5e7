"""Whether a case fits the machine, and what one change would make it fit. Called by `plan`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from orchestrator.control.admission.memory import (
    FULL_WIDTH,
    RUNTIME_BYTES,
    MemoryCase,
    host_load_bytes,
    host_worker_bytes,
    worker_memory,
)
from orchestrator.control.admission.records import DiskPlan, PlanReason, ZeroStage
from orchestrator.inspect.hardware import HardwareFacts
from orchestrator.specs import FineTuneSpec, ResourcesSpec

USABLE_SHARE = 0.95  # Ray ends workers above it; a GPU's last share is lost to fragments
SHORTEST_LENGTH = 16  # tokens: less is no remedy

GB = 1e9


@dataclass(frozen=True, slots=True)
class Machine:
    """What a job may use here."""

    hardware: HardwareFacts
    resources: ResourcesSpec

    @property
    def host_limit_bytes(self) -> int:
        return int(self.hardware.memory_bytes * USABLE_SHARE)

    @property
    def gpu_limit_bytes(self) -> int | None:
        """Of the smallest GPU; None where there is none to compare with."""
        sizes = [gpu.memory_bytes for gpu in self.hardware.gpus]
        return int(min(sizes) * USABLE_SHARE) if sizes else None

    @property
    def worker_limit_bytes(self) -> int | None:
        """What the spec grants each worker of host memory."""
        granted = self.resources.memory_gb_per_worker
        return None if granted is None else int(granted * GB)

    def fits(self, case: MemoryCase) -> bool:
        """Whether GPU, worker and machine have the memory for it."""
        worker = worker_memory(case)
        host = host_bytes_of_worker(case)
        gpu = self.gpu_limit_bytes
        return (
            not (case.on_gpu and gpu is not None and worker.total_bytes > gpu)
            and not (self.worker_limit_bytes is not None and host > self.worker_limit_bytes)
            and case.workers * host + RUNTIME_BYTES <= self.host_limit_bytes
        )


def host_bytes_of_worker(case: MemoryCase) -> int:
    """Host memory of one worker at its peak, be it in loading or in training."""
    return max(host_worker_bytes(case, worker_memory(case)), host_load_bytes(case))


def memory_reasons(machine: Machine, case: MemoryCase, spec: FineTuneSpec) -> Iterator[PlanReason]:
    """Why a case does not fit, with the change that would make it."""
    worker, host = worker_memory(case).total_bytes, host_bytes_of_worker(case)
    gpu, granted = machine.gpu_limit_bytes, machine.worker_limit_bytes
    if granted is not None and granted < host:
        yield PlanReason(
            path="resources.memory_gb_per_worker",
            message=f"a worker needs {_gb(host)}, the spec grants it {_gb(granted)}",
            change=f"write resources.memory_gb_per_worker: {math.ceil(host / GB * 10) / 10}",
        )
    yield from grant_reasons(machine, case.workers)
    if case.on_gpu and gpu is not None and worker > gpu:
        message = f"a worker needs {_gb(worker)} of GPU memory, a GPU here offers {_gb(gpu)}"
        yield _with_change(message, replace_grant(machine), case, spec)
    total = case.workers * host + RUNTIME_BYTES
    if total > machine.host_limit_bytes:
        message = (
            f"{case.workers} {'workers' if case.workers > 1 else 'worker'} of {_gb(host)} and "
            f"{_gb(RUNTIME_BYTES)} for Ray need {_gb(total)} of memory, this machine offers "
            f"{_gb(machine.host_limit_bytes)}"
        )
        yield _with_change(message, replace_grant(machine), case, spec)


def grant_reasons(machine: Machine, workers: int) -> Iterator[PlanReason]:
    """More memory granted than there is."""
    granted = machine.worker_limit_bytes
    if granted is None or workers * granted <= machine.hardware.memory_bytes:
        return
    most = (machine.host_limit_bytes - RUNTIME_BYTES) / workers / GB
    yield PlanReason(
        path="resources.memory_gb_per_worker",
        message=f"{workers} workers of {_gb(granted)} are more than the "
        f"{_gb(machine.hardware.memory_bytes)} of this machine",
        change=f"write at most {math.floor(most * 10) / 10:g}",
        of_machine=True,
    )


def replace_grant(machine: Machine) -> Machine:
    """The machine alone: a grant that is too small has a reason of its own."""
    resources = machine.resources.model_copy(update={"memory_gb_per_worker": None})
    return replace(machine, resources=resources)


def _with_change(
    message: str, machine: Machine, case: MemoryCase, spec: FineTuneSpec
) -> PlanReason:
    for path, value, changed in _changes(case, spec):
        if machine.fits(changed):
            change = f"write {path}: {value}"
            return PlanReason(path=path, message=message, change=change, of_machine=True)
    return PlanReason(
        path="model.base",
        message=message,
        change="choose a smaller base or a larger machine: no single field makes it fit",
        of_machine=True,
    )


def _changes(case: MemoryCase, spec: FineTuneSpec) -> Iterator[tuple[str, str, MemoryCase]]:
    """Changes of one field, the least harmful first: those that learn the same come before."""
    rows = spec.training.global_batch_size // case.workers
    for size in range(case.micro_batch_size - 1, 0, -1):
        if rows % size == 0:
            yield "engine.micro_batch_size", str(size), replace(case, micro_batch_size=size)
    if not case.checkpointing:
        yield "engine.gradient_checkpointing", "true", replace(case, checkpointing=True)
    if case.strategy == "deepspeed":
        for stage in range(case.zero_stage + 1, 4):
            changed = replace(case, zero_stage=cast(ZeroStage, stage))
            yield "engine.zero_stage", str(stage), changed
    for workers in range(case.workers - 1, 0, -1):
        if spec.training.global_batch_size % (workers * case.micro_batch_size) == 0:
            yield "resources.workers", str(workers), replace(case, workers=workers)
    if case.precision in FULL_WIDTH:
        yield "training.precision", "bf16", replace(case, precision="bf16")
    length = case.length // 2
    while length >= SHORTEST_LENGTH:
        yield "training.max_length", str(length), replace(case, length=length)
        length //= 2


def cpu_reasons(machine: Machine, spec: FineTuneSpec) -> Iterator[PlanReason]:
    """More cores than there are."""
    resources, cpus = machine.resources, machine.hardware.cpus
    wanted = resources.workers * resources.cpus_per_worker
    if wanted <= cpus:
        return
    message = (
        f"{resources.workers} workers of {resources.cpus_per_worker} cores need {wanted} cores, "
        f"this machine has {cpus}"
    )
    if resources.workers <= cpus:
        path, value = "resources.cpus_per_worker", cpus // resources.workers
    else:
        path = "resources.workers"
        most = max(1, cpus // resources.cpus_per_worker)
        value = _dividing(spec.training.global_batch_size, most)
        if resources.cpus_per_worker > cpus:
            path, value = "resources.cpus_per_worker", cpus
    change = f"write {path}: {value}"
    yield PlanReason(path=path, message=message, change=change, of_machine=True)


def gpu_reasons(machine: Machine, spec: FineTuneSpec) -> Iterator[PlanReason]:
    """More GPUs than there are, or other ones."""
    resources, gpus = machine.resources, machine.hardware.gpus
    wanted = resources.workers * resources.gpus_per_worker
    if wanted > len(gpus):
        noun = "GPU" if wanted == 1 else "GPUs"
        message = f"{wanted} {noun} asked for, this machine has {len(gpus) or 'none'}"
        if gpus:
            path = "resources.workers"
            value = _dividing(spec.training.global_batch_size, len(gpus))
        else:
            path, value = "resources.gpus_per_worker", 0
        change = f"write {path}: {value}"
        yield PlanReason(path=path, message=message, change=change, of_machine=True)
    kind = resources.accelerator
    names = sorted({gpu.name for gpu in gpus})
    if kind is not None and gpus and not any(_is_kind(kind, name) for name in names):
        yield PlanReason(
            path="resources.accelerator",
            message=f"no {kind} is here, only {', '.join(names)}",
            change="name one of these, or remove the field",
            of_machine=True,
        )


def disk_reasons(disk: DiskPlan, checkpoint_bytes: int, keep: int) -> Iterator[PlanReason]:
    """More disk space than is free."""
    missing = disk.needed_bytes - disk.free_bytes
    if missing <= 0:
        return
    message = (
        f"the job needs {_gb(disk.needed_bytes)} of disk space, {_gb(disk.free_bytes)} is free"
    )
    for fewer in range(keep - 1, 0, -1):
        if disk.store_is_local and (keep - fewer) * checkpoint_bytes >= missing:
            path, change = "checkpoint.keep", f"write checkpoint.keep: {fewer}"
            yield PlanReason(path=path, message=message, change=change, of_machine=True)
            return
    change = f"free {_gb(missing)}, or name a store that is elsewhere"
    yield PlanReason(path="output.store", message=message, change=change, of_machine=True)


def _dividing(number: int, most: int) -> int:
    """The largest divisor of `number` that is at most `most`."""
    return next(value for value in range(min(most, number), 0, -1) if number % value == 0)


def _is_kind(kind: str, name: str) -> bool:
    """`A100-80GB` is a `NVIDIA A100-SXM4-80GB`: every word of the one is in the other."""
    return all(word in name.lower() for word in kind.lower().replace("_", "-").split("-") if word)


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"
