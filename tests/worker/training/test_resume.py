"""kill -9 of a whole gang, then again: the weights are those of an undisturbed run, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records import CheckpointRef, Launch
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from tests.worker.tiny import launch, rows, write_base

NUM_STEPS = 15
CASES: dict[str, dict[str, Any]] = {
    "zero 2, accumulation": {"zero_stage": 2, "micro_batch_size": 2},
    "zero 3": {"zero_stage": 3, "micro_batch_size": 4},
    "ddp": {"strategy": "ddp", "micro_batch_size": 4},
}


def write_rows(path: Path, num_rows: int) -> str:
    table = rows(num_rows)
    lines = [
        json.dumps({"text": text, "label": label})
        for text, label in zip(table["text"], table["label"], strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"), dropout=0.1)


def make_launch(base: Path, folder: Path, engine: dict[str, Any]) -> Launch:
    """40 rows in batches of 8: five steps an epoch, three epochs; a checkpoint each fourth step."""
    folder.mkdir(exist_ok=True)
    data = {
        "train": [{"path": write_rows(folder / "train.jsonl", 40)}],
        "valid": [{"path": write_rows(folder / "valid.jsonl", 12)}],
        "test": [{"path": write_rows(folder / "test.jsonl", 12)}],
    }
    return launch(
        base,
        folder,
        data={"domains": {"toy": data}, "train_on": ["toy"]},
        training={
            "epochs": 3,
            "global_batch_size": 8,
            "learning_rate": 1e-3,
            "max_length": 16,
            "warmup_ratio": 0.1,
            "seed": 5,
        },
        engine=engine,
        resources={"workers": 2},
        checkpoint={"every_steps": 4, "keep": 2},
        evaluation={"metrics": ["accuracy"], "bootstrap_samples": 10},
    )


def start(order: Launch) -> subprocess.Popen[bytes]:
    path = Path(order.scratch) / f"launch-{order.attempt}.json"
    path.write_text(order.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", "-m", "orchestrator.worker.training.main"]
    log = (Path(order.scratch) / f"log-{order.attempt}").open("wb")
    return subprocess.Popen(
        [*command, "--launch", str(path)],
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def outcome(order: Launch) -> dict[str, Any]:
    log = Path(order.scratch) / f"log-{order.attempt}"
    found = store_of(order).outcome(order.attempt)
    assert found is not None, log.read_text()[-3000:]
    return found


def store_of(order: Launch) -> CheckpointStore:
    return CheckpointStore(open_store(order.store), order.job)


def published_digest(order: Launch) -> str:
    assert outcome(order)["model"] == "toy@1", outcome(order)
    weights = Path(order.store) / "toy" / "1" / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def kill_when_committed(process: subprocess.Popen[bytes], order: Launch) -> None:
    """kill -9 of agent and ranks as soon as the first checkpoint is complete."""
    manifest = Path(order.store) / ".checkpoints" / order.job / "a1" / "step-4" / "manifest.json"
    while process.poll() is None and not manifest.exists():
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    assert process.poll() is None, "the gang ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    for child in children_of_session(process.pid):
        os.kill(child, signal.SIGKILL)
    process.wait()


def children_of_session(session: int) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == session:
                yield int(entry.name)
        except (ProcessLookupError, PermissionError):
            continue


@pytest.mark.parametrize("name", CASES)
def test_killed_and_resumed_ends_with_the_same_weights(
    name: str, base: Path, tmp_path: Path
) -> None:
    undisturbed = make_launch(base, tmp_path / "undisturbed", CASES[name])
    store_of(undisturbed).claim_attempt({})
    assert start(undisturbed).wait() == 0
    expected = published_digest(undisturbed)
    assert outcome(undisturbed)["resumed_from_step"] is None

    killed = make_launch(base, tmp_path / "killed", CASES[name])
    store_of(killed).claim_attempt({})
    kill_when_committed(start(killed), killed)
    newest = store_of(killed).resume_point()
    assert newest is not None
    assert newest.step >= 4
    attempt = store_of(killed).claim_attempt({"resumed_from": {"attempt": 1, "step": newest.step}})
    resumed = killed.model_copy(
        update={
            "attempt": attempt,
            "resume": (CheckpointRef(attempt=1, step=newest.step, world_size=2),),
        }
    )
    assert start(resumed).wait() == 0
    found = outcome(resumed)
    assert found["resumed_from_step"] == newest.step
    assert found["step"] == NUM_STEPS
    assert published_digest(resumed) == expected
    for key in ("metrics", "before"):
        assert found[key] == outcome(undisturbed)[key]
