from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.control.admission.compatibility import (
    RULES,
    Features,
    doubts,
    features_of,
    incompatibilities,
)
from tests.control.admission.builders import gpu, machine, spec

FINE = Features(
    task="text-classification",
    method="full",
    strategy="deepspeed",
    zero_stage=2,
    precision="fp32",
    offload="none",
    device="cpu",
    gang="many",
)


def test_the_usual_job_has_nothing_against_it() -> None:
    assert list(incompatibilities(FINE)) == []
    assert list(doubts(FINE)) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"precision": "fp16"}, "training.precision"),
        ({"precision": "bf16", "device": "old_gpu"}, "training.precision"),
        ({"method": "qlora"}, "method.type"),
        ({"batches": "packed", "positions": "counted"}, "training.batching.packing"),
        ({"method": "qlora", "device": "gpu", "zero_stage": 3}, "engine.zero_stage"),
        ({"method": "qlora", "device": "gpu", "offload": "parameters"}, "engine.offload"),
    ],
)
def test_what_cannot_work(changes: dict[str, Any], path: str) -> None:
    (reason,) = incompatibilities(replace(FINE, **changes))

    assert reason.path == path
    assert reason.change.startswith("write ")


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"precision": "fp16", "device": "gpu"},
        {"precision": "fp16", "device": "old_gpu"},
        {"precision": "bf16", "device": "gpu"},
        {"strategy": "ddp", "zero_stage": 0, "gang": "one"},
        {"method": "freeze"},
        {"method": "lora", "zero_stage": 3},
        {"method": "qlora", "device": "gpu", "quantizer": "present"},
        {"method": "qlora", "device": "gpu", "quantizer": "unknown"},
    ],
)
def test_what_works(changes: dict[str, Any]) -> None:
    assert list(incompatibilities(replace(FINE, **changes))) == []
    assert list(doubts(replace(FINE, **changes))) == []


@pytest.mark.parametrize(("packages", "reasons"), [(None, 0), (("bitsandbytes",), 0), ((), 1)])
def test_a_package_that_is_missing_is_the_machines(
    packages: tuple[str, ...] | None, reasons: int
) -> None:
    hardware = machine(gpus=(gpu(),), packages=packages)
    body = spec(method={"type": "qlora"}, resources={"gpus_per_worker": 1}).spec
    found = list(incompatibilities(features_of(body, hardware)))

    assert len(found) == reasons
    assert all(reason.of_machine and "bitsandbytes" in reason.message for reason in found)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"offload": "optimizer"}, "engine.offload"),
        ({"gang": "one"}, "engine.zero_stage"),
        ({"method": "qlora", "device": "gpu", "published": "merged"}, "method.merge"),
    ],
)
def test_what_makes_no_sense(changes: dict[str, Any], path: str) -> None:
    (doubt,) = doubts(replace(FINE, **changes))

    assert doubt.startswith(f"{path}: ")


def test_every_rule_speaks_of_known_features() -> None:
    for rule in RULES:
        assert set(rule.when) <= set(Features.__dataclass_fields__)


@pytest.mark.parametrize(
    ("gpus_per_worker", "capability", "device"),
    [(0, 9.0, "cpu"), (1, 8.0, "gpu"), (1, 7.5, "old_gpu")],
)
def test_devices(gpus_per_worker: int, capability: float, device: str) -> None:
    hardware = machine(gpus=(gpu(compute_capability=capability),))
    body = spec(resources={"gpus_per_worker": gpus_per_worker}).spec

    assert features_of(body, hardware).device == device
