"""The plan of a custom task: what its script asks for is taken as it is, nothing is estimated.

Called by `plan`. What a script holds in memory, how many steps it takes and how long they last
cannot be told before it runs; its gang is what `resources` says.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.control.admission.inputs import PlanInputs, identity_of
from orchestrator.control.admission.machine import (
    Machine,
    cpu_reasons,
    gpu_reasons,
    grant_reasons,
)
from orchestrator.control.admission.records import Plan, PlanReason
from orchestrator.control.admission.resolve import resolve_script


def plan_script(inputs: PlanInputs) -> Plan:
    """The plan of a valid spec whose task is custom."""
    resolved = resolve_script(inputs.spec, inputs.surroundings)
    machine = Machine(inputs.hardware, resolved.spec.resources)
    reasons = tuple(_reasons(machine, inputs))
    return Plan(
        verdict="refused" if reasons else "fits",
        reasons=reasons,
        warnings=tuple(_warnings(inputs)),
        choices=(),
        spec=resolved,
        identity=identity_of(inputs, resolved),
        model=None,
        hardware=inputs.hardware,
        splits=(),
    )


def _reasons(machine: Machine, inputs: PlanInputs) -> Iterator[PlanReason]:
    spec = inputs.spec.spec
    yield from gpu_reasons(machine, spec)
    yield from cpu_reasons(machine, spec)
    yield from grant_reasons(machine, spec.resources.workers)


def _warnings(inputs: PlanInputs) -> Iterator[str]:
    yield from inputs.data.warnings
    yield (
        "a script decides itself what it needs: memory, steps, time and disk are not estimated, "
        "and a checkpoint is saved when the script saves one"
    )
    if inputs.spec.spec.resources.memory_gb_per_worker is None:
        yield (
            "resources.memory_gb_per_worker is not given, so the memory of this job is not counted "
            "among that of others"
        )
