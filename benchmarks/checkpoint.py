"""What checkpoints cost: `python -m benchmarks.checkpoint [--rounds 1] [--steps 42] [--every 10]`.

Trains the quickstart's model under bare torchrun in turn without checkpoints, with those that hold
training until they are written to the local disk (the baseline), and with those that hold it for a
copy in memory. It prints

- seconds until a checkpoint of the baseline is written, and until it is in the store and complete;
  and what each of them comes to over the seconds for which the others hold the step loop. The goal
  is at least 20;
- how much longer the steps took with asynchronous checkpoints than without any, waiting included.
  The goal is at most 3.5 %.

The last checkpoint is left out: nothing goes on behind it. Rounds are in turn, because a machine's
speed drifts; where others use it, the second figure is theirs as much as ours.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.overhead import JOB, SPEC, bare_launch, training_rows
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store

NONE, BLOCKING, ASYNCHRONOUS = "none", "blocking", "asynchronous"


@dataclass(frozen=True, slots=True)
class Measured:
    """One training."""

    held_seconds: list[float]  # by each checkpoint but the last
    saved_seconds: list[float]  # of the same, until each was complete in the store
    seconds: float  # from the first step's end to that of the last that none waited behind
    size_bytes: int  # of a checkpoint


def overrides(kind: str, steps: int, every: int) -> list[str]:
    """One worker that does nothing but step and save."""
    cadence = every if kind != NONE else steps
    return [
        "resources.workers=1",
        "training.global_batch_size=16",
        "training.max_length=64",
        f"checkpoint.every_steps={cadence}",
        f"checkpoint.asynchronous={str(kind == ASYNCHRONOUS).lower()}",
        "checkpoint.keep=100",
        "selection.last=true",
    ]


def measure(kind: str, steps: int, every: int, folder: Path) -> Measured:
    launch = bare_launch(steps, folder, overrides(kind, steps, every))
    file = folder / "launch.json"
    file.write_text(launch.model_dump_json())
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    worker = ["-m", "orchestrator.worker.training.main", "--launch", str(file)]
    done = subprocess.run(
        [*launcher, "--nproc-per-node=1", *worker],
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    rows = training_rows(folder / "store", JOB)
    last, *saved = CheckpointStore(open_store(str(folder / "store")), JOB).candidates()
    began = {row["step"]: row["time"] for row in rows}  # a step is logged, then saved
    return Measured(
        [row["checkpoint_seconds"] for row in rows if "checkpoint_seconds" in row],
        [one.manifest.committed_at.timestamp() - began[one.step] for one in saved],
        rows[-1]["time"] - rows[0]["time"],
        last.manifest.size_bytes,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=42)
    parser.add_argument("--every", type=int, default=10)
    options = parser.parse_args()
    found: dict[str, list[Measured]] = {NONE: [], BLOCKING: [], ASYNCHRONOUS: []}
    for number in range(options.rounds):
        for kind, runs in found.items():
            with tempfile.TemporaryDirectory() as name:
                runs.append(measure(kind, options.steps, options.every, Path(name)))
            print(f"round {number + 1}, {kind}: {runs[-1].seconds:.1f} s", flush=True)
    print_summary(found)


def print_summary(found: dict[str, list[Measured]]) -> None:
    size = found[ASYNCHRONOUS][0].size_bytes
    held = {
        kind: median(second for run in runs for second in run.held_seconds)
        for kind, runs in found.items()
        if kind != NONE
    }
    total = {kind: median(run.seconds for run in runs) for kind, runs in found.items()}
    complete = median(second for run in found[BLOCKING] for second in run.saved_seconds)
    print(f"\n{SPEC.stem}: checkpoints of {size / 1e6:.0f} MB")
    print(f"blocking: written in {held[BLOCKING]:.3f} s, complete in {complete:.3f} s")
    print(
        f"asynchronous: held for {held[ASYNCHRONOUS]:.3f} s, "
        f"{held[BLOCKING] / held[ASYNCHRONOUS]:.1f} and {complete / held[ASYNCHRONOUS]:.1f} times "
        "less (goal: 20)"
    )
    for kind in (BLOCKING, ASYNCHRONOUS):
        slower = total[kind] / total[NONE] - 1
        print(f"slow-down, {kind}: {slower:+.1%} (goal: at most +3.5 %)")


if __name__ == "__main__":
    main()
