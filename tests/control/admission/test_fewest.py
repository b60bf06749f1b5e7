"""Jobs that may have fewer workers: an engine for both ends, and what is refused."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.control.admission.fewest import (
    fewest_reasons,
    fits_at_both_ends,
    smallest_case,
)
from orchestrator.control.admission.machine import Machine, host_bytes_of_worker
from orchestrator.control.admission.memory import RUNTIME_BYTES
from tests.control.admission.builders import case
from tests.control.admission.builders import machine as hardware
from tests.control.builders import resolved_spec

ELASTIC = resolved_spec(resources={"workers": 4, "min_workers": 1}).spec
SHARDED = case(strategy="deepspeed", zero_stage=3, workers=4, micro_batch_size=8)


def granting(bytes_of_worker: int) -> Machine:
    resources = ELASTIC.resources.model_copy(update={"memory_gb_per_worker": bytes_of_worker / 1e9})
    return Machine(hardware(), resources)


def test_the_smallest_gang_has_the_rows_of_all() -> None:
    smallest = smallest_case(SHARDED, ELASTIC)
    assert smallest == replace(SHARDED, workers=1, micro_batch_size=8)
    assert smallest_case(SHARDED, resolved_spec().spec) is None


def test_what_fits_with_all_workers_alone_does_not_fit_and_the_reason_names_enough() -> None:
    pair = replace(SHARDED, workers=2)
    granted = host_bytes_of_worker(pair)
    assert host_bytes_of_worker(replace(SHARDED, workers=1)) > granted
    machine = granting(granted + 1)
    assert machine.fits(SHARDED)
    assert not fits_at_both_ends(machine, ELASTIC)(SHARDED)
    (reason,) = fewest_reasons(machine, SHARDED, ELASTIC)
    assert (reason.path, reason.change) == (
        "resources.min_workers",
        "write resources.min_workers: 2",
    )


def test_enough_for_the_smallest_is_enough() -> None:
    machine = granting(host_bytes_of_worker(replace(SHARDED, workers=1)) + 1)
    assert machine.host_limit_bytes > RUNTIME_BYTES
    assert fits_at_both_ends(machine, ELASTIC)(SHARDED)
    assert list(fewest_reasons(machine, SHARDED, ELASTIC)) == []
