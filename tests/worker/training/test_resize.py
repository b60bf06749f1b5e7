"""Saved by a gang of 2, resumed by gangs of 1 and 4 and over other ZeRO stages: the same losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.records import CheckpointRef, ContinuedRef, Launch
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.training import ops
from tests.worker.tiny import launch, rows, write_base
from tests.worker.training.resize_gang import SAVED_AT, WORKERS

pytestmark = pytest.mark.timeout(900)

NUM_STEPS = 10
ENVIRONMENT = {**os.environ, **ops.environment(), "OMP_NUM_THREADS": "1"}
LORA: dict[str, Any] = {
    "type": "lora",
    "rank": 4,
    "alpha": 8.0,
    "dropout": 0.0,
    "target_modules": ["attention.self.query", "output.dense"],
}


def stage(number: int) -> dict[str, Any]:
    return {"zero_stage": number}


FREEZE = {"type": "freeze", "num_layers": 1}
DDP = {"strategy": "ddp"}
CASES: dict[str, tuple[int, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # name: workers that go on; the engine that saves; the one that goes on; the rest
    "zero 1 to 4 workers, frozen": (4, stage(1), stage(1), {"method": FREEZE}),
    "zero 2 to 4 workers, lora": (4, stage(2), stage(2), {"method": LORA}),
    "zero 3 to 4 workers, layer decay": (4, stage(3), stage(3), {"layer_decay": 0.5}),
    "zero 0 to zero 2 on 1 worker": (1, stage(0), stage(2), {}),
    "ddp to 1 worker, lora": (1, DDP, DDP, {"method": LORA}),
    "zero 2 to zero 3 on 1 worker": (1, stage(2), stage(3), {}),
    "zero 3 to zero 1 on 1 worker, lora": (1, stage(3), stage(1), {"method": LORA}),
    "zero 2 to zero 0 on 1 worker": (1, stage(2), stage(0), {}),
    "zero 1 to 1 worker, bf16": (1, stage(1), stage(1), {"precision": "bf16"}),
}
TOLERANCE = {"fp32": 1e-5, "bf16": 1e-2}


def make_launch(
    base: Path, folder: Path, engine: dict[str, Any], workers: int, other: dict[str, Any]
) -> Launch:
    """36 rows in batches of 8: four whole batches an epoch and a half one."""
    data = folder / "rows.jsonl"
    folder.mkdir(exist_ok=True, parents=True)
    table = rows(36)
    lines = (dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True))
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    split = [{"path": str(data)}]
    training = {name: other[name] for name in ("precision", "layer_decay") if name in other}
    return launch(
        base,
        folder,
        data={
            "domains": {"toy": {"train": split, "valid": split, "test": split}},
            "train_on": ["toy"],
        },
        training={
            "epochs": 2,
            "global_batch_size": 8,
            "learning_rate": 1e-3,
            "weight_decay": 0.3,
            "max_length": 16,
            "warmup_ratio": 0.1,
            "seed": 5,
            **training,
        },
        engine={"micro_batch_size": 2 if workers == 4 else 4, **engine},
        method=other.get("method", {"type": "full"}),
        selection={"last": True, "metric": "toy/loss", "mode": "min"},
        resources={"workers": workers},
        checkpoint={"every_steps": SAVED_AT},
        evaluation={"bootstrap_samples": 0, "before": False},
    )


CONTINUED: dict[str, tuple[str, dict[str, Any]]] = {
    # name: whose checkpoint a new job on 1 worker begins with; its engine
    "at zero 1": ("zero 3 to zero 1 on 1 worker, lora", stage(1)),
    "at zero 0": ("zero 3 to zero 1 on 1 worker, lora", stage(0)),
    "under ddp": ("ddp to 1 worker, lora", DDP),
}
NEW_JOB = "job-01arz3ndektsv4rrffq69g5fb0"


def new_job(base: Path, folder: Path, first: Launch, engine: dict[str, Any]) -> Launch:
    """Three steps from where another job was at its seventh, beside which it is stored."""
    order = make_launch(base, folder, engine, 1, {"method": LORA})
    steps = order.spec.spec.training.model_copy(update={"epochs": None, "max_steps": 3})
    body = order.spec.spec.model_copy(update={"training": steps})
    reference = ContinuedRef(job=first.job, attempt=1, step=SAVED_AT, world_size=WORKERS)
    spec = order.spec.model_copy(update={"spec": body})
    return order.model_copy(update={"job": NEW_JOB, "spec": spec, "continues": reference})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    """Of each case the run that went on at the old size, and the one that changed it.

    Of each in CONTINUED its store and the new job's run.
    """
    folder = tmp_path_factory.mktemp("resize")
    base = write_base(tmp_path_factory.mktemp("base"))
    reference = CheckpointRef(attempt=1, step=SAVED_AT, world_size=WORKERS)
    orders: dict[str, tuple[Launch, Launch]] = {}
    for number, (name, (size, engine, other, rest)) in enumerate(CASES.items()):
        whole = make_launch(base, folder / f"{number}-whole", engine, WORKERS, rest)
        resumed = make_launch(base, folder / f"{number}-resumed", other, size, rest)
        again = {"attempt": 2, "resume": (reference,)}
        orders[name] = whole, resumed.model_copy(update=again)
    sizes: dict[int, list[Launch]] = {
        WORKERS: [whole for whole, _ in orders.values()],
        1: [],
        4: [],
    }
    for name, (_, resumed) in orders.items():
        sizes[CASES[name][0]].append(resumed)
    continued = {
        name: new_job(base, folder / f"continued-{number}", orders[first][0], engine)
        for number, (name, (first, engine)) in enumerate(CONTINUED.items())
    }
    sizes[1] += continued.values()
    for size, launches in sizes.items():
        documents = [launch.model_dump(mode="json") for launch in launches]
        (folder / f"launches-{size}.json").write_text(json.dumps(documents))
    copies = [(whole.store, resumed.store) for whole, resumed in orders.values()]
    copies += [
        (orders[first][0].store, continued[name].store) for name, (first, _) in CONTINUED.items()
    ]
    (folder / "copies.json").write_text(json.dumps(copies))
    command = [sys.executable, "-m", "tests.worker.training.resize_gang", str(folder)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    logs = [path.read_text()[-1500:] for path in sorted(folder.glob("log-*"))]
    assert done.returncode == 0, "\n".join([done.stderr[-1500:], *logs])
    results: dict[str, Any] = {}
    for size in sizes:
        results |= json.loads((folder / f"found-{size}.json").read_text())
    found = {
        name: (results[whole.store], results[resumed.store])
        for name, (whole, resumed) in orders.items()
    }
    return found | {name: (order.store, results[order.store]) for name, order in continued.items()}


@pytest.mark.parametrize("name", CASES)
def test_another_gang_goes_on_with_the_same_losses(
    name: str, found: dict[str, tuple[Any, Any]]
) -> None:
    before, after = found[name]
    assert after["state"] == "SUCCEEDED"
    assert after["resumed_from_step"] == SAVED_AT
    assert after["steps"] == list(range(SAVED_AT + 1, NUM_STEPS + 1)), "none twice, none left out"
    tolerance = TOLERANCE[CASES[name][3].get("precision", "fp32")]
    assert after["losses"] == pytest.approx(before["losses"][SAVED_AT:], rel=tolerance)
    assert after["norms"] == pytest.approx(before["norms"][SAVED_AT:], rel=tolerance)


@pytest.mark.parametrize("name", CONTINUED)
def test_a_new_job_begins_with_the_moments_of_another(
    name: str, found: dict[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    store, run = found[name]
    assert (run["state"], run["resumed_from_step"], run["steps"]) == ("SUCCEEDED", None, [1, 2, 3])
    # The optimizer has seen seven steps there and three here, the schedule is the new job's own.
    checkpoints = CheckpointStore(open_store(store), NEW_JOB)
    newest = checkpoints.resume_point()
    assert newest is not None
    checkpoints.fetch_rank(newest, 0, tmp_path)
    assert set(optimizer_steps(tmp_path)) == {SAVED_AT + 3}
    same = found["at zero 1"][1]
    if name == "at zero 0":
        assert run["losses"] == pytest.approx(same["losses"], rel=TOLERANCE["fp32"])


def optimizer_steps(folder: Path) -> Iterator[int]:
    """Of each parameter or group, how many updates its moments have seen."""
    files = [*folder.rglob("*optim_states.pt"), *folder.rglob("optimizer.pt")]
    (file,) = files or folder.rglob("mp_rank_00_model_states.pt")
    state = torch.load(file, weights_only=False)
    state = state.get("optimizer_state_dict", state.get("optimizer", state))
    state = state.get("base_optimizer_state", state)
    for one in state["state"].values():
        yield int(one["step"])
