"""Bytes of a step for a model of 1,000 parameters, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.admission.exchange import (
    communication_seconds,
    offload_seconds,
    update_seconds,
)
from orchestrator.control.admission.throughput import Speed, fleet_speed, gpu_speed
from orchestrator.inspect.accelerators import accelerator
from tests.control.admission.builders import FREEZE_ALL, case

# A byte a second over each wire, so that seconds are bytes.
BYTES = Speed(
    flops=1, memory_bytes=1, link_bytes=1, basis="", host_link_bytes=1, host_memory_bytes=4
)
GPUS = {"strategy": "deepspeed", "workers": 4, "on_gpu": True, "precision": "bf16"}


@pytest.mark.parametrize(
    ("changes", "accumulation", "sent"),
    [
        ({"workers": 1}, 1, 0),
        # 3/4 of 2 x 1,000 weights of 2 bytes, whatever the micro-batches
        ({"zero_stage": 0}, 1, 3000),
        ({"zero_stage": 1}, 5, 3000),
        ({"zero_stage": 2}, 1, 3000),
        ({"zero_stage": 2}, 5, 9000),  # 6 x 1,000 x 2 x 3/4
        ({"zero_stage": 3}, 1, 4500),
        ({"zero_stage": 3}, 5, 22500),
        # The head alone learns, 18 parameters; stage 3 gathers the frozen ones all the same.
        ({"zero_stage": 2, "method": FREEZE_ALL}, 1, 54),
        ({"zero_stage": 3, "method": FREEZE_ALL}, 1, 3027),
    ],
)
def test_what_is_sent(changes: dict[str, Any], accumulation: int, sent: float) -> None:
    assert communication_seconds(case(**{**GPUS, **changes}), accumulation, BYTES) == sent


def test_what_is_updated() -> None:
    # 28 bytes a parameter; a quarter of them where the state is sharded; 4 bytes a second on a host
    assert update_seconds(case(**GPUS, zero_stage=0), BYTES) == 28_000
    assert update_seconds(case(**GPUS, zero_stage=2), BYTES) == 7_000
    assert update_seconds(case(**GPUS, zero_stage=2, offload="optimizer"), BYTES) == 1_750


@pytest.mark.parametrize(
    ("stage", "offload", "accumulation", "moved"),
    [
        (2, "none", 1, 0),
        (2, "optimizer", 1, 1000),  # 250 gradients down, 250 weights up
        (2, "optimizer", 4, 2500),
        (3, "parameters", 1, 2000),  # and 250 weights up for each of two ways
        (3, "parameters", 4, 6500),
    ],
)
def test_what_goes_between_gpu_and_host(
    stage: int, offload: str, accumulation: int, moved: float
) -> None:
    offloading = case(**GPUS, zero_stage=stage, offload=offload)

    assert offload_seconds(offloading, accumulation, BYTES) == moved


def test_on_cpus_nothing_is_offloaded() -> None:
    on_cpu = case(strategy="deepspeed", zero_stage=2, offload="optimizer", workers=2)

    assert offload_seconds(on_cpu, 1, BYTES) == 0
    assert update_seconds(on_cpu, BYTES) == 14_000


def test_speed_of_a_fleet() -> None:
    kind, slow = accelerator("H100"), accelerator("L4")
    assert kind is not None
    assert slow is not None

    assert gpu_speed(kind, "bf16").flops == pytest.approx(989.4e12 * 0.35)
    assert fleet_speed(kind, "bf16", 1).link_bytes == pytest.approx(315e9)  # 70% of NVLink
    # eight cards of 400 Gbit/s carry the rings: 400 GB/s
    assert fleet_speed(kind, "bf16", 2).link_bytes == pytest.approx(280e9)
    assert fleet_speed(slow, "bf16", 1).link_bytes == pytest.approx(22.4e9)  # PCIe
    assert fleet_speed(slow, "bf16", 2).link_bytes == pytest.approx(8.75e9)  # 100 Gbit/s
    assert fleet_speed(kind, "bf16", 4).disk_bytes == 8e9


def test_what_a_gpu_cannot_do_is_not_faster_for_it() -> None:
    kind = accelerator("T4")
    assert kind is not None

    assert gpu_speed(kind, "bf16").flops == gpu_speed(kind, "fp32").flops
