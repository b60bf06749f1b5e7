"""Whether checkpoints are written behind the training, and what their copy takes. Pure.

Called by `plan`. A copy lies in host memory until it is written, beside what training holds. The
last checkpoint needs none, since nothing goes on behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.control.admission.duration import checkpoint_bytes
from orchestrator.control.admission.machine import Machine, host_bytes_of_worker
from orchestrator.control.admission.memory import RUNTIME_BYTES, MemoryCase
from orchestrator.control.admission.records import PlanReason
from orchestrator.specs import FineTune


def copy_bytes(case: MemoryCase) -> int:
    """What the first worker copies of a checkpoint; the others copy no more."""
    whole = checkpoint_bytes(case)
    if case.strategy == "ddp" or case.zero_stage == 0:
        return whole
    weights = case.weight_bytes * case.model.saved_parameters
    if case.zero_stage == 3:
        return -(-whole // case.workers)
    return weights + -(-(whole - weights) // case.workers)


def fits_copy(machine: Machine, case: MemoryCase) -> bool:
    """Whether workers and machine hold the copy beside the rest."""
    host, granted = host_bytes_of_worker(case) + copy_bytes(case), machine.worker_limit_bytes
    return (
        granted is None or host <= granted
    ) and case.workers * host + RUNTIME_BYTES <= machine.host_limit_bytes


def with_writing(spec: FineTune, machine: Machine, case: MemoryCase) -> FineTune:
    """A resolved spec that says how checkpoints are written."""
    checkpoint = spec.spec.checkpoint
    if checkpoint.asynchronous is not None:
        return spec
    chosen = checkpoint.model_copy(update={"asynchronous": fits_copy(machine, case)})
    return spec.model_copy(update={"spec": spec.spec.model_copy(update={"checkpoint": chosen})})


def held_bytes(spec: FineTune, case: MemoryCase, count: int) -> int:
    """Of host memory that copies take of a worker, of so many checkpoints."""
    return copy_bytes(case) if spec.spec.checkpoint.asynchronous and count > 1 else 0


def copy_reasons(machine: Machine, case: MemoryCase, held: int) -> Iterator[PlanReason]:
    """A copy was asked for that does not fit, where all the rest does."""
    if held and machine.fits(case) and not fits_copy(machine, case):
        yield PlanReason(
            path="checkpoint.asynchronous",
            message=f"a copy of a checkpoint takes {held / 1e9:.1f} GB of host memory in a worker, "
            "more than is left",
            change="write false, or remove it",
            of_machine=True,
        )
