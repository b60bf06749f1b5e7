"""The other end of a job that may have fewer workers than it asks for. Pure; called by `plan`.

Fewer workers share optimizer state and gradients, so each holds more: an engine is chosen that fits
at both ends, and what does not fit with the fewest is refused before a gang finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from orchestrator.control.admission.machine import Machine
from orchestrator.control.admission.memory import MemoryCase, worker_memory
from orchestrator.control.admission.records import PlanReason
from orchestrator.specs import FineTuneSpec
from orchestrator.specs.sizes import fewer_workers, fitting_micro_batch


def case_at(case: MemoryCase, spec: FineTuneSpec, workers: int) -> MemoryCase:
    """The same job with another number of workers."""
    rows = spec.training.global_batch_size // workers
    micro = fitting_micro_batch(rows, case.micro_batch_size)
    return replace(case, workers=workers, micro_batch_size=micro)


def smallest_case(case: MemoryCase, spec: FineTuneSpec) -> MemoryCase | None:
    """With as few workers as it may have; None where it has all or none."""
    sizes = fewer_workers(spec)
    return case_at(case, spec, sizes[-1]) if sizes else None


def fits_at_both_ends(machine: Machine, spec: FineTuneSpec) -> Callable[[MemoryCase], bool]:
    """Whether an engine's case fits with all workers and with the fewest."""

    def fits(case: MemoryCase) -> bool:
        smallest = smallest_case(case, spec)
        return machine.fits(case) and (smallest is None or machine.fits(smallest))

    return fits


def mended_by_fewer(
    reasons: tuple[PlanReason, ...],
    spec: FineTuneSpec,
    reasons_with: Callable[[int], Iterable[PlanReason]],
) -> int | None:
    """The most workers with which the machine's own reasons fall away; None: they stand.

    Args:
        reasons: Why all workers do not fit.
        spec: Resolved.
        reasons_with: Those with another number of workers.
    """
    if not reasons or not all(reason.of_machine for reason in reasons):
        return None
    return next((n for n in fewer_workers(spec) if not any(reasons_with(n))), None)


def fewest_reasons(machine: Machine, case: MemoryCase, spec: FineTuneSpec) -> Iterator[PlanReason]:
    """The smallest gang's workers need more memory than there is."""
    smallest = smallest_case(case, spec)
    if smallest is None or machine.fits(smallest) or not machine.fits(case):
        return  # where all of them do not fit either, that is the reason
    enough = [n for n in fewer_workers(spec) if machine.fits(case_at(case, spec, n))]
    least = min(enough, default=case.workers)
    noun = "worker" if smallest.workers == 1 else "workers"
    yield PlanReason(
        path="resources.min_workers",
        message=f"with {smallest.workers} {noun} each needs "
        f"{worker_memory(smallest).total_bytes / 1e9:.1f} GB, more than there is",
        change=f"write resources.min_workers: {least}",
        of_machine=True,
    )


def fitting_caution(spec: FineTuneSpec, workers: int | None) -> Iterator[str]:
    """That it will not begin with all its workers here; `workers`: with how many, if so."""
    if workers is not None:
        all_workers = spec.resources.workers
        yield f"this machine holds {workers} of {all_workers} workers: it begins with these"
