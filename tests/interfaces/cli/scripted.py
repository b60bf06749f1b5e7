"""A scripted run: a clock that only moves when told, and short ways to say what workers say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.control.admission.records import (
    CheckpointPlan,
    DiskPlan,
    MemoryPlan,
    Plan,
    SplitPlan,
    StageMemory,
    StepPlan,
    TimePlan,
    WorkerMemory,
)
from orchestrator.records import Identity, Phase, Report
from orchestrator.specs import API_VERSION, FineTune

JOB = "job-01kax7m0f2c3d4e5f6g7h8j9k0"


@dataclass
class FakeClock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Script:
    """Makes Reports in sequence, as a worker sends them: figures it said before are repeated."""

    clock: FakeClock
    attempt: int = 1
    _sequence: int = 0
    _said: dict[str, Any] = field(default_factory=dict)

    def report(
        self, phase: Phase, *, rank: int = 0, message: str | None = None, **said: Any
    ) -> Report:
        self._sequence += 1
        self._said |= said
        return Report(
            job=JOB,
            attempt=self.attempt,
            rank=rank,
            sequence=self._sequence,
            time=self.clock(),
            phase=phase,
            message=message,
            **self._said,
        )


def plan(
    name: str = "sentiment-camera",
    *,
    steps: int = 120,
    metric: str = "mean/macro_f1",
    **changes: Any,
) -> Plan:
    """A plan as the tests need it; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "verdict": "fits",
        "reasons": (),
        "warnings": (),
        "choices": (),
        "spec": _resolved(name, metric),
        "identity": Identity(run="0" * 64, data={}, base="1" * 64, recipe="1"),
        "splits": (CAMERA,),
        "trainable_parameters": 22_713_986,
        "total_parameters": 22_713_986,
        "memory": _memory(),
        "steps": _steps(steps),
        "time": TIME,
        "checkpoint": CheckpointPlan(
            size_bytes=272_600_000, count=6, stall_seconds=0.4, upload_seconds=1.2
        ),
        "disk": DISK,
    }
    return Plan.model_construct(**(fields | changes))


CAMERA = SplitPlan(
    domain="camera",
    split="train",
    num_rows=294,
    class_counts={"negative": 76, "positive": 218},
    held_out=False,
    truncated_share=0.0068,
)
TIME = TimePlan(
    start_seconds=40.0,
    before_seconds=3.0,
    train_seconds=120.0,
    valid_seconds=2.0,
    checkpoint_seconds=1.0,
    test_seconds=6.0,
    publish_seconds=3.0,
    total_seconds=175.0,
    step_seconds=1.0,
    samples_per_second=32.0,
    basis="measured on this machine",
)
DISK = DiskPlan(
    scratch_bytes=545_000_000,
    model_bytes=91_600_000,
    checkpoints_bytes=636_800_000,
    store_is_local=True,
    needed_bytes=1_273_400_000,
    free_bytes=79_200_000_000,
)


def _steps(total: int) -> StepPlan:
    return StepPlan(
        train_rows=294,
        per_epoch=60,
        total=total,
        warmup=7,
        epochs=2.0,
        accumulation=1,
        tokens_per_row=24.4,
        tokens_per_step=781,
        tokens=93_720,
        tokens_measured=True,
        evaluations=2,
    )


def _resolved(name: str, metric: str) -> FineTune:
    spec = {
        "model": {"base": "package://encoder/model"},
        "task": {"type": "text-classification", "labels": ("negative", "positive")},
        "data": {
            "domains": {"camera": {"train": [{"path": "train.jsonl"}]}},
            "train_on": ["camera"],
        },
        "engine": {"zero_stage": 2, "micro_batch_size": 16},
        "resources": {"workers": 2},
        "selection": {"metric": metric, "mode": "max"},
    }
    head = {"apiVersion": API_VERSION, "kind": "FineTune", "metadata": {"name": name}}
    return FineTune.model_validate(head | {"spec": spec})


def _memory() -> MemoryPlan:
    worker = WorkerMemory(
        weights_bytes=90_900_000,
        gradients_bytes=90_900_000,
        optimizer_bytes=136_300_000,
        activations_bytes=52_000_000,
        logits_bytes=128,
        buffers_bytes=20_000_000,
        process_bytes=900_000_000,
    )
    return MemoryPlan(
        device="cpu",
        worker=worker,
        worker_bytes=worker.total_bytes,
        host_worker_bytes=worker.total_bytes,
        host_load_bytes=1_100_000_000,
        runtime_bytes=1_200_000_000,
        host_bytes=3_780_000_000,
        host_limit_bytes=25_300_000_000,
        host_available_bytes=20_000_000_000,
        by_stage=(
            StageMemory(
                strategy="deepspeed",
                zero_stage=2,
                precision="fp32",
                worker_bytes=1_290_100_000,
                chosen=True,
            ),
            StageMemory(
                strategy="deepspeed", zero_stage=3, precision="fp32", worker_bytes=1_244_000_000
            ),
        ),
    )
