"""What the orchestrator costs: `python -m benchmarks.overhead [--rounds 2] [--steps 60]`.

Trains the quickstart's model in turn under `orchestrator run` and with the same training function
under bare torchrun (the baseline), and prints

- the step time of the first over that of the second: median of the steps, rounds in turn, because
  a machine's speed drifts. The goal is at most 1.02;
- submit-to-first-step seconds of the orchestrated run by phase.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator import server
from orchestrator.records import Launch
from orchestrator.settings import load_settings
from orchestrator.storage.bases import BasePlaces, fetch_base, resolve_base
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store

SPEC = Path(__file__).parent.parent / "jobs" / "quickstart.yaml"
WARM_UP_STEPS = 10
JOB = "job-00000000000000000000000000"


@dataclass(frozen=True, slots=True)
class Measured:
    """One training: seconds of each step after the warm-up, and of each phase."""

    step_seconds: list[float]
    phase_seconds: dict[str, float]
    first_step_seconds: float | None = None  # from submit, where there was one


def overrides(steps: int, store: Path) -> list[str]:
    """The quickstart without what is not a step: no checkpoint or evaluation on the way."""
    return [
        f"training.max_steps={steps}",
        "training.epochs=null",
        f"checkpoint.every_steps={steps}",
        f"selection.every_steps={steps}",
        "evaluation.before=false",
        "evaluation.bootstrap_samples=0",
        f"output.store={store}",
    ]


def under_the_orchestrator(steps: int, folder: Path) -> Measured:
    sets = [word for item in overrides(steps, folder / "store") for word in ("--set", item)]
    command = [sys.executable, "-m", "orchestrator.interfaces.cli.main", "run", str(SPEC)]
    submitted = time.time()
    done = subprocess.run([*command, "--json", *sets], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    outcome = json.loads(done.stdout)
    rows = training_rows(folder / "store", outcome["job"])
    first = rows[0]["time"] - submitted
    return Measured(step_seconds(rows), outcome["seconds"], first)


def under_torchrun(steps: int, folder: Path) -> Measured:
    launch = bare_launch(steps, folder)
    file = folder / "launch.json"
    file.write_text(launch.model_dump_json())
    workers = launch.spec.spec.resources.workers
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    worker = ["-m", "orchestrator.worker.training.main", "--launch", str(file)]
    done = subprocess.run(
        [*launcher, f"--nproc-per-node={workers}", *worker],
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    rows = training_rows(folder / "store", JOB)
    outcome = CheckpointStore(open_store(str(folder / "store")), JOB).outcome(1)
    assert outcome is not None
    return Measured(step_seconds(rows), outcome["seconds"])


def bare_launch(steps: int, folder: Path, more: Sequence[str] = ()) -> Launch:
    """What the controller would hand to the worker, without a controller."""
    settings = load_settings()
    sets = [*overrides(steps, folder / "store"), *more]
    plan = server.plan(SPEC, sets, settings=settings)
    base = resolve_base(plan.spec.spec.model, BasePlaces(SPEC.parent, settings.cache_dir, None))
    store = CheckpointStore(open_store(str(folder / "store")), JOB)
    return Launch(
        job=JOB,
        attempt=store.claim_attempt({}),
        spec=plan.spec,
        written=SPEC.read_text(),
        identity=plan.identity,
        store=str(folder / "store"),
        base_path=str(fetch_base(base)),
        cache=str(folder / "cache"),
        scratch=str(folder / "scratch"),
        submitted_at=time.time(),
    )


def training_rows(store: Path, job: str) -> list[dict[str, Any]]:
    rows = CheckpointStore(open_store(str(store)), job).history(1)
    return [row for row in rows if "loss" in row]


def step_seconds(rows: list[dict[str, Any]]) -> list[float]:
    return [row["step_seconds"] for row in rows[WARM_UP_STEPS:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    ours, theirs = [], []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ours.append(under_the_orchestrator(options.steps, folder / "ours"))
            theirs.append(under_torchrun(options.steps, folder / "theirs"))
        print(
            f"round {number + 1}: step {median(ours[-1].step_seconds) * 1e3:.1f} ms orchestrated, "
            f"{median(theirs[-1].step_seconds) * 1e3:.1f} ms under torchrun",
            flush=True,
        )
    print_summary(ours, theirs)


def print_summary(ours: list[Measured], theirs: list[Measured]) -> None:
    mine = median(second for run in ours for second in run.step_seconds)
    bare = median(second for run in theirs for second in run.step_seconds)
    print(f"\nstep time, orchestrated / torchrun: {mine / bare:.3f} (goal: at most 1.02)")
    last = ours[-1]
    print(f"submit to first step: {last.first_step_seconds:.1f} s, of which")
    for phase in ("plan", "launch", "import", "load"):
        print(f"  {phase:8} {last.phase_seconds[phase]:6.1f} s")


if __name__ == "__main__":
    main()
