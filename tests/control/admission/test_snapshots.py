"""Checkpoints that are written behind the training: what their copy takes, and where it fits."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.admission.machine import Machine, host_bytes_of_worker
from orchestrator.control.admission.memory import MemoryCase
from orchestrator.control.admission.snapshots import (
    copy_bytes,
    copy_reasons,
    held_bytes,
    with_writing,
)
from orchestrator.specs import FineTune
from tests.control.admission.builders import case
from tests.control.admission.builders import machine as hardware
from tests.control.builders import resolved_spec

PARAMETERS = 1000


@pytest.mark.parametrize(
    ("engine", "bytes_of_parameter"),
    [
        ({"strategy": "ddp"}, 4 + 8),
        ({"strategy": "deepspeed", "zero_stage": 0}, 4 + 8),
        ({"strategy": "deepspeed", "zero_stage": 2, "workers": 4}, 4 + (8 + 4) / 4),
        ({"strategy": "deepspeed", "zero_stage": 3, "workers": 4}, (4 + 8) / 4),
        ({"strategy": "deepspeed", "zero_stage": 2, "workers": 4, "precision": "bf16"}, 2 + 12 / 4),
    ],
)
def test_the_first_worker_copies_what_it_saves(
    engine: dict[str, Any], bytes_of_parameter: float
) -> None:
    assert copy_bytes(case(**engine)) == PARAMETERS * bytes_of_parameter


def granting(bytes_of_worker: int) -> Machine:
    granted = {"memory_gb_per_worker": bytes_of_worker / 1e9}
    return Machine(hardware(), resolved_spec(resources=granted).spec.resources)


def writing(machine: Machine, found: MemoryCase, given: bool | None = None) -> FineTune:
    return with_writing(resolved_spec(checkpoint={"asynchronous": given}), machine, found)


def test_it_is_chosen_where_the_copy_fits() -> None:
    found = case()
    enough = host_bytes_of_worker(found) + copy_bytes(found) + 10
    assert writing(granting(enough), found).spec.checkpoint.asynchronous is True
    assert writing(granting(enough - 1000), found).spec.checkpoint.asynchronous is False


def test_what_the_spec_says_stays_and_is_refused_where_it_does_not_fit() -> None:
    found = case()
    machine = granting(host_bytes_of_worker(found) + 10)
    spec = writing(machine, found, given=True)
    held = held_bytes(spec, found, count=3)
    assert held == copy_bytes(found)
    (reason,) = copy_reasons(machine, found, held)
    assert (reason.path, reason.change) == ("checkpoint.asynchronous", "write false, or remove it")


def test_a_single_checkpoint_is_the_last_and_copied_by_nobody() -> None:
    spec = writing(granting(10**9), case(), given=True)
    assert held_bytes(spec, case(), count=1) == 0
