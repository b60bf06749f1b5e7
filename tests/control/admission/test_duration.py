from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.admission.duration import (
    RowLengths,
    SaveRates,
    Work,
    checkpoint_bytes,
    forward_flops,
    plan_checkpoints,
    plan_steps,
    plan_time,
    row_lengths,
    save_rates,
    step_seconds,
    training_flops,
    with_checkpoints,
)
from orchestrator.control.admission.records import CheckpointPlan, StepPlan
from orchestrator.control.admission.throughput import Speed, worker_speed
from orchestrator.specs import FineTuneSpec
from orchestrator.specs.batching import BatchingSpec
from tests.control.admission.builders import (
    FREEZE_ALL,
    FREEZE_ONE,
    case,
    data,
    gpu,
    machine,
    spec,
    split,
    tokens,
)

LENGTHS = RowLengths({"train": 10.0, "valid": 8.0, "test": 5.0}, 16, measured=True)
HERE = SaveRates(stall_bytes=1e6, upload_bytes=1e6)
SLOW = Speed(flops=1e6, memory_bytes=1e6, link_bytes=1e6, basis="a slow machine")


def resolved(**sections: Any) -> FineTuneSpec:
    """With what a resolved spec has that steps follow from."""
    return spec(
        **{
            "training": {"epochs": 3, "warmup_ratio": 0.06, "max_length": 16},
            "checkpoint": {"every_minutes": 20},
            "selection": {"metric": "mean/macro_f1"},
            **sections,
        }
    ).spec


def steps(num_rows: int = 1000, micro: int = 4, **sections: Any) -> StepPlan:
    return plan_steps(resolved(**sections), num_rows, micro, LENGTHS)


# Rows and tokens


def test_lengths_come_from_counted_tokens() -> None:
    facts = data()
    found = row_lengths(facts, tokens(facts, mean=10, p95=14, longest=20), 16)

    # Training batches are padded to their longest row, evaluated ones are sorted.
    assert found == RowLengths({"train": 14, "valid": 10, "test": 10}, 16, measured=True)


def test_no_row_is_longer_than_the_longest() -> None:
    facts = data()

    assert row_lengths(facts, tokens(facts, longest=12, p95=11), 16).longest == 12


def test_a_sample_does_not_tell_the_longest() -> None:
    facts = data(split("camera", "train", 9000), split("camera", "test", 10))
    sampled = tokens(facts, longest=12, p95=11)
    sampled["camera", "train"] = type(sampled["camera", "train"])(
        "camera", "train", 2000, 10.0, 11, 12, 10.0, 0.0
    )

    assert row_lengths(facts, sampled, 16).longest == 16


def test_without_counts_every_row_is_full() -> None:
    assert row_lengths(data(), None, 16) == RowLengths(
        {"train": 16.0, "valid": 16.0, "test": 16.0}, 16, measured=False
    )


# Steps


@pytest.mark.parametrize(
    ("num_rows", "training", "per_epoch", "total", "warmup"),
    [
        (1000, {"epochs": 3, "warmup_ratio": 0.06}, 32, 96, 6),  # 31.25 -> 32; 5.76 -> 6
        (1024, {"epochs": 1, "warmup_ratio": 0.06}, 32, 32, 2),
        (1000, {"epochs": 0.5, "warmup_ratio": 0.0}, 32, 16, 0),
        (1000, {"epochs": 0.01, "warmup_ratio": 0.5}, 32, 1, 1),
        (1000, {"max_steps": 10, "warmup_ratio": 0.06}, 32, 10, 1),
        (1000, {"max_steps": 500, "warmup_steps": 7}, 32, 500, 7),
        (5, {"epochs": 2, "warmup_ratio": 0.06}, 1, 2, 1),
    ],
)
def test_steps(
    num_rows: int, training: dict[str, Any], per_epoch: int, total: int, warmup: int
) -> None:
    found = steps(num_rows, training={"max_length": 16, **training})

    assert (found.per_epoch, found.total, found.warmup) == (per_epoch, total, warmup)


def test_steps_are_those_the_worker_takes() -> None:
    from orchestrator.worker.data.batches import BatchPlan
    from orchestrator.worker.data.orders import Shuffled
    from orchestrator.worker.training.arguments import total_steps, warmup_steps

    for num_rows, epochs in ((1, 1.0), (31, 0.4), (32, 3.0), (33, 2.5), (1000, 1.7)):
        body = resolved(training={"epochs": epochs, "warmup_ratio": 0.07, "max_length": 16})
        batches = BatchPlan(Shuffled("", 0, num_rows), 32, 4, 2)
        found = plan_steps(body, num_rows, 4, LENGTHS)

        assert found.per_epoch == batches.steps_per_epoch
        assert found.total == total_steps(body, batches.steps_per_epoch)
        assert found.warmup == warmup_steps(body, found.total)


def test_tokens_of_a_training() -> None:
    found = steps()

    assert (found.tokens_per_step, found.tokens) == (320, 30_000)  # 3 x 1,000 rows of 10
    assert found.epochs == 3.0
    assert steps(num_rows=5).tokens_per_step == 50  # fewer rows than a batch


def test_tokens_of_a_short_training() -> None:
    found = steps(training={"max_steps": 2, "max_length": 16, "warmup_steps": 0})

    assert found.tokens == 630  # 2 of 32 steps of an epoch: 63 rows (62.5)
    assert found.epochs == 0.0625


@pytest.mark.parametrize(
    ("workers", "micro", "accumulation"), [(1, 32, 1), (1, 8, 4), (2, 8, 2), (4, 8, 1)]
)
def test_accumulation(workers: int, micro: int, accumulation: int) -> None:
    assert steps(micro=micro, resources={"workers": workers}).accumulation == accumulation


@pytest.mark.parametrize(
    ("sections", "evaluations"),
    [
        ({}, 3),  # each epoch
        ({"selection": {"metric": "mean/macro_f1", "every_steps": 10}}, 10),  # of 96, and the last
        ({"selection": {"metric": "mean/macro_f1", "last": True}}, 0),
        (
            {
                "selection": {"metric": "mean/macro_f1", "last": True},
                "training": {"epochs": 3, "early_stopping": {"patience": 1}},
            },
            3,
        ),
    ],
)
def test_evaluations(sections: dict[str, Any], evaluations: int) -> None:
    assert steps(**sections).evaluations == evaluations


# Time


def test_flops_of_a_token() -> None:
    # 600 parameters beyond the embeddings; attention 4 x 10 tokens x 8 x 2 layers
    assert forward_flops(case(), 10) == 2 * 600 + 640
    assert training_flops(case(), 10) == 3 * 1840


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"checkpointing": True}, 4),  # the forward pass twice
        ({"method": FREEZE_ONE}, 2),  # the way back ends half-way
        ({"method": FREEZE_ALL}, 1),
    ],
)
def test_passes(changes: dict[str, Any], passes: int) -> None:
    assert training_flops(case(**changes), 10) == passes * 1840


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        # 4 rows x 8 times x 10 tokens x 5,520 FLOPs; 28 bytes a parameter to update; 0.02 flat
        ({}, 1.7664 + 0.028 + 0.02),
        # half the rows each; gradients go around: 2 x 4,000 / 2
        ({"workers": 2}, 0.8832 + 0.028 + 0.004 + 0.02),
        ({"workers": 2, "strategy": "deepspeed", "zero_stage": 1}, 0.8832 + 0.014 + 0.004 + 0.02),
        # four micro-batches: gradients are scattered after each, weights gathered once
        ({"workers": 2, "strategy": "deepspeed", "zero_stage": 2}, 0.8832 + 0.014 + 0.010 + 0.02),
        # and under stage 3 weights are gathered twice for each
        ({"workers": 2, "strategy": "deepspeed", "zero_stage": 3}, 0.8832 + 0.014 + 0.024 + 0.02),
    ],
)
def test_step_seconds(changes: dict[str, Any], seconds: float) -> None:
    workers = {"workers": changes.get("workers", 1)}

    found = step_seconds(case(**changes), steps(resources=workers), SLOW)

    assert found.total_seconds == pytest.approx(seconds)


def test_time_of_a_job() -> None:
    work = Work(test_rows=500, valid_rows=100, lengths=LENGTHS)
    found = plan_time(resolved(), case(), steps(), SLOW, work)

    assert found.train_seconds == pytest.approx(96 * 1.8144, abs=0.01)
    # test: 500 rows x 5 tokens x (1,200 + 4 x 5 x 8 x 2); valid: 3 x 100 x 8 x (1,200 + 512)
    assert (found.before_seconds, found.test_seconds) == (3.8, 3.8)
    assert found.valid_seconds == 4.11
    assert found.total_seconds == pytest.approx(50 + 3 + 174.18 + 3.8 + 3.8 + 4.11, abs=0.02)
    assert found.samples_per_second == 17.64  # 32 / 1.8144
    assert found.basis == "a slow machine"


def test_no_evaluation_before() -> None:
    work = Work(test_rows=500, valid_rows=0, lengths=LENGTHS)
    found = plan_time(resolved(evaluation={"before": False}), case(), steps(), SLOW, work)

    assert (found.before_seconds, found.test_seconds) == (0.0, 3.8)


def test_cpu_speed_ends_with_the_cores() -> None:
    assert worker_speed(machine(), "fp32", 2, on_gpu=False).flops == 120e9
    assert worker_speed(machine(), "fp32", 64, on_gpu=False).flops == 240e9


@pytest.mark.parametrize(
    ("name", "precision", "flops"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12 * 0.35),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5e12 * 0.35),  # TF32 is off unless asked for
        ("NVIDIA H200", "bf16", 989.4e12 * 0.35),
        ("Tesla T4", "fp16", 65e12 * 0.35),
        ("Some GPU", "fp32", 15e12 * 0.35),
    ],
)
def test_gpu_speed(name: str, precision: Any, flops: float) -> None:
    found = worker_speed(machine(gpus=(gpu(name=name),)), precision, 1, on_gpu=True)

    assert found.flops == pytest.approx(flops)
    assert name in found.basis


# Checkpoints


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, 4000 + 8000),
        ({"strategy": "deepspeed", "zero_stage": 2, "workers": 2}, 4000 + 12000),
        ({"strategy": "deepspeed", "zero_stage": 3, "workers": 2}, 4000 + 8000),
        ({"strategy": "deepspeed", "zero_stage": 2, "precision": "bf16"}, 2000 + 12000),
        ({"method": FREEZE_ALL}, 4000 + 8 * 18),
    ],
)
def test_checkpoint_bytes(changes: dict[str, Any], size: int) -> None:
    assert checkpoint_bytes(case(**changes)) == size


@pytest.mark.parametrize(
    ("checkpoint", "train_seconds", "count"),
    [
        ({"every_steps": 20}, 10.0, 5),  # at 20, 40, 60, 80 and the last, 96
        ({"every_steps": 96}, 10.0, 1),
        ({"every_minutes": 20}, 10.0, 1),
        ({"every_minutes": 20}, 3000.0, 3),  # at 20 and 40 minutes, and the last
    ],
)
def test_checkpoints_of_a_job(checkpoint: dict[str, Any], train_seconds: float, count: int) -> None:
    body = resolved(checkpoint=checkpoint)
    found = plan_checkpoints(body, case(), steps(), train_seconds, HERE)

    assert found.count == count


def test_sending_to_a_bucket_takes_longer() -> None:
    big = plan_checkpoints(resolved(), case(), steps(), 0.0, save_rates(SLOW, local=False))

    assert big.size_bytes == 12000
    assert big.upload_seconds >= big.stall_seconds


def test_time_with_checkpoints() -> None:
    work = Work(test_rows=0, valid_rows=0, lengths=LENGTHS)
    plain = plan_time(resolved(), case(), steps(), SLOW, work)
    saved = CheckpointPlan(size_bytes=1, count=4, stall_seconds=2.0, upload_seconds=8.0)

    assert with_checkpoints(plain, saved).checkpoint_seconds == 16.0
    assert with_checkpoints(plain, saved).total_seconds == plain.total_seconds + 16.0


@pytest.mark.parametrize("how", [{"packing": True}, {"group_by_length": True}])
def test_packed_and_sorted_rows_are_not_padded(how: dict[str, bool]) -> None:
    facts = data()
    found = row_lengths(facts, tokens(facts, mean=10, p95=14), 16, BatchingSpec(**how))
    assert found.by_split["train"] == 10
    assert found.longest == 16
