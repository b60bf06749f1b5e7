from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.control.admission.machine import (
    Machine,
    cpu_reasons,
    disk_reasons,
    gpu_reasons,
    host_bytes_of_worker,
    memory_reasons,
)
from orchestrator.control.admission.memory import MemoryCase
from orchestrator.control.admission.records import DiskPlan, PlanReason
from orchestrator.control.admission.trainable import trained_model
from orchestrator.inspect.model import ParameterCounts
from tests.control.admission.builders import (
    CLASSIFY,
    FULL,
    GB,
    case,
    gpu,
    machine,
    spec,
    tiny_model,
)

A100S = (gpu(0), gpu(1))


def big(**changes: Any) -> MemoryCase:
    """A base of a billion parameters: 16 GB of states on one worker."""
    counts = ParameterCounts(
        embeddings=100_000_000, layers=(450_000_000,) * 2, other=0, largest=100_000_000
    )
    facts = tiny_model(parameters=counts, hidden_size=1000, intermediate_size=4000)
    return case(model=trained_model(facts, CLASSIFY, FULL, 2), **changes)


def on(hardware: dict[str, Any], resources: dict[str, Any] | None = None) -> Machine:
    body = spec(resources=resources or {}).spec
    return Machine(machine(**hardware), body.resources)


# Memory


def test_what_fits() -> None:
    assert on({}).fits(big())
    assert not on({"memory_bytes": 10 * GB}).fits(big())


def test_all_workers_share_the_machine() -> None:
    per_worker = host_bytes_of_worker(big())
    enough = int((per_worker + 2_200_000_000) / 0.95) + 1_000_000

    assert on({"memory_bytes": enough}).fits(big())
    assert not on({"memory_bytes": enough}).fits(big(workers=2))


def reasons(
    hardware: dict[str, Any], found: MemoryCase, resources: dict[str, Any] | None = None
) -> list[PlanReason]:
    body = spec(resources=resources or {}, training={"global_batch_size": 8}).spec
    return list(memory_reasons(Machine(machine(**hardware), body.resources), found, body))


def test_nothing_to_refuse() -> None:
    assert reasons({}, big()) == []


def test_too_little_memory_says_how_much_is_needed() -> None:
    (reason,) = reasons({"memory_bytes": 10 * GB}, big())

    assert reason.path == "model.base"
    assert "2.2 GB for Ray" in reason.message
    assert "this machine offers 9.5 GB" in reason.message
    assert "smaller base or a larger machine" in reason.change


@pytest.mark.parametrize(
    ("memory_gb", "changes", "change"),
    [
        # 17.1 GB and 0.118 a row of 500 tokens; of 21 GB 19.95 can be used, 2.2 are Ray's
        (21, {"micro_batch_size": 8, "length": 500}, "engine.micro_batch_size: 4"),
        (40, {"workers": 2}, "resources.workers: 1"),
        # 20.7 GB each without sharding, 21.1 at stage 1, 19.1 at stage 2; 41.8 can be used
        (44, {"workers": 2, "strategy": "deepspeed", "zero_stage": 0}, "engine.zero_stage: 2"),
    ],
)
def test_the_change_of_one_field_that_would_fit(
    memory_gb: float, changes: dict[str, Any], change: str
) -> None:
    found = reasons({"memory_bytes": int(memory_gb * GB)}, big(**changes))

    assert [reason.change for reason in found] == [f"write {change}"]
    assert [reason.path for reason in found] == [change.partition(":")[0]]


def test_a_change_that_is_proposed_fits() -> None:
    hardware = {"memory_bytes": 21 * GB}
    found = big(micro_batch_size=8, length=500)
    (reason,) = reasons(hardware, found)
    size = int(reason.change.rpartition(" ")[2])

    assert on(hardware).fits(replace(found, micro_batch_size=size))
    assert not on(hardware).fits(found)


def test_a_grant_that_is_too_small() -> None:
    (reason,) = reasons({}, case(), {"memory_gb_per_worker": 0.5})

    assert reason.path == "resources.memory_gb_per_worker"
    assert reason.message == "a worker needs 0.8 GB, the spec grants it 0.5 GB"
    assert reason.change == "write resources.memory_gb_per_worker: 0.8"


def test_grants_beyond_the_machine() -> None:
    (reason,) = reasons({}, case(workers=2), {"workers": 2, "memory_gb_per_worker": 60})

    assert reason.path == "resources.memory_gb_per_worker"
    assert "2 workers of 60.0 GB are more than the 100.0 GB" in reason.message
    assert reason.change == "write at most 46.4"  # (95 - 2.2) / 2


def test_a_gpu_that_is_too_small() -> None:
    hardware = {"gpus": (gpu(size_gb=16),)}
    (reason,) = reasons(hardware, big(on_gpu=True, strategy="deepspeed", offload="none"))

    assert "of GPU memory, a GPU here offers 15.2 GB" in reason.message


def test_host_memory_of_loading_counts_with_gpus() -> None:
    loading = big(on_gpu=True, workers=8)  # 8 processes hold 4 GB of weights each while loading

    assert on({"gpus": A100S * 4, "memory_bytes": 100 * GB}).fits(loading)
    assert not on({"gpus": A100S * 4, "memory_bytes": 30 * GB}).fits(loading)


# Cores and GPUs


@pytest.mark.parametrize(
    ("resources", "change"),
    [
        ({"workers": 4, "cpus_per_worker": 1}, None),
        ({"workers": 2, "cpus_per_worker": 2}, None),
        ({"workers": 2, "cpus_per_worker": 4}, "write resources.cpus_per_worker: 2"),
        ({"workers": 8, "cpus_per_worker": 1}, "write resources.workers: 4"),
        ({"workers": 1, "cpus_per_worker": 9}, "write resources.cpus_per_worker: 4"),
        ({"workers": 6, "cpus_per_worker": 9}, "write resources.cpus_per_worker: 4"),
    ],
)
def test_cores(resources: dict[str, Any], change: str | None) -> None:
    body = spec(resources=resources).spec
    found = list(cpu_reasons(Machine(machine(), body.resources), body))

    assert [reason.change for reason in found] == ([] if change is None else [change])


def test_workers_that_are_proposed_divide_the_batch() -> None:
    body = spec(resources={"workers": 10}, training={"global_batch_size": 30}).spec
    (reason,) = cpu_reasons(Machine(machine(), body.resources), body)

    assert reason.change == "write resources.workers: 3"
    assert reason.message == "10 workers of 1 cores need 10 cores, this machine has 4"


@pytest.mark.parametrize(
    ("gpus", "resources", "path", "change"),
    [
        ((), {"gpus_per_worker": 1}, "resources.gpus_per_worker", "0"),
        (A100S, {"workers": 4, "gpus_per_worker": 1}, "resources.workers", "2"),
    ],
)
def test_more_gpus_than_there_are(
    gpus: Any, resources: dict[str, Any], path: str, change: str
) -> None:
    body = spec(resources=resources).spec
    (reason,) = gpu_reasons(Machine(machine(gpus=gpus), body.resources), body)

    assert reason.path == path
    assert reason.change == f"write {path}: {change}"


@pytest.mark.parametrize(
    ("accelerator", "refused"),
    [("A100-80GB", False), ("a100", False), ("A100-40GB", True), ("H100", True)],
)
def test_kind_of_gpu(accelerator: str, refused: bool) -> None:
    resources = {"workers": 2, "gpus_per_worker": 1, "accelerator": accelerator}
    body = spec(resources=resources).spec
    found = list(gpu_reasons(Machine(machine(gpus=A100S), body.resources), body))

    assert [reason.path for reason in found] == ["resources.accelerator"] * refused


# Disk


def disk(needed_gb: float, free_gb: float, *, local: bool = True) -> DiskPlan:
    return DiskPlan(
        scratch_bytes=0,
        model_bytes=0,
        checkpoints_bytes=0,
        store_is_local=local,
        needed_bytes=int(needed_gb * GB),
        free_bytes=int(free_gb * GB),
    )


@pytest.mark.parametrize(
    ("plan", "keep", "path", "change"),
    [
        (disk(10, 8), 4, "checkpoint.keep", "write checkpoint.keep: 2"),  # 1 GB each
        (disk(10, 1), 4, "output.store", "free 9.0 GB, or name a store that is elsewhere"),
        (disk(10, 8, local=False), 4, "output.store", "free 2.0 GB, or name a store"),
    ],
)
def test_too_little_disk(plan: DiskPlan, keep: int, path: str, change: str) -> None:
    (reason,) = disk_reasons(plan, GB, keep)

    assert reason.path == path
    assert reason.change.startswith(change)
    assert "10.0 GB of disk space" in reason.message


def test_enough_disk() -> None:
    assert list(disk_reasons(disk(10, 10), GB, 2)) == []
