"""User code in a gang, stopped or killed, then resumed: as if nothing had happened."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records import Launch
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from orchestrator.worker.gang import Gang
from tests.worker.custom.builders import checkpoints_of, script_launch, with_code
from tests.worker.custom.resume_gang import STOP_AT, compare
from tests.worker.tiny import launch, rows, write_base
from tests.worker.training.resume_gang import digest
from tests.worker.training.test_resume import (
    ENVIRONMENT,
    kill_gang,
    log_of,
    start,
    torchrun,
    write_rows,
)

NUM_STEPS = 15  # of the job with functions
SCRIPT_STEPS = 400

SCRIPT = """
import argparse
import os
import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel
from orchestrator.worker.custom import current_session

asked = argparse.ArgumentParser()
asked.add_argument("--steps", type=int)
asked.add_argument("--mark", type=int, default=0)
steps, mark = vars(asked.parse_args()).values()
session = current_session()
print("my token is", os.environ.get("HF_TOKEN"))
torch.manual_seed(session.spec.training.seed)
net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
model = DistributedDataParallel(net)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
step = session.resume_step or 0
torch.manual_seed(100 + session.rank)
if session.resume_folder is not None:
    saved = torch.load(session.resume_folder / "state.pt", weights_only=True)
    net.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    drawn = torch.load(session.resume_folder / f"drawn-{session.rank}.pt", weights_only=True)
    torch.set_rng_state(drawn)
while step < steps:
    loss = model(torch.rand(6, 8)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    step += 1
    session.report(step=step, max_steps=steps, metrics={"loss": loss.item()})
    stop = session.should_stop()
    if stop or step % 5 == 0:
        folder = session.scratch / "state"
        folder.mkdir(exist_ok=True)
        if session.rank == 0:
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, folder / "state.pt")
        torch.save(torch.get_rng_state(), folder / f"drawn-{session.rank}.pt")
        session.save_checkpoint(folder, step)
    if step == mark:
        (session.scratch / "mark").touch()
    if stop:
        break
else:
    folder = session.scratch / "model"
    folder.mkdir()
    save_file(net.state_dict(), folder / "model.safetensors")
    session.publish(folder, metrics={"toy": {"loss": loss.item()}})
"""

FUNCTIONS = """
import numpy, torch

def shorten(row):
    if row["text"].endswith("awful"):
        return None
    return {**row, "text": row["text"].replace("very very", "very")}

def smoothed(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)

def pad(rows, tokenizer):
    longest = max(len(row["input_ids"]) for row in rows)
    ids = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]
    ids = torch.tensor(ids)
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}

def cost(labels, probabilities):
    return -numpy.log(probabilities[numpy.arange(len(labels)), labels]).mean()
"""


def functions_job(base: Path, folder: Path, workers: int, engine: dict[str, Any]) -> Launch:
    """40 rows, of which 33 stay, in batches of 8: five steps an epoch, three epochs."""
    folder.mkdir(exist_ok=True)
    data = {
        "train": [{"path": write_rows(folder / "train.jsonl", rows(40))}],
        "valid": [{"path": write_rows(folder / "valid.jsonl", rows(12))}],
        "test": [{"path": write_rows(folder / "test.jsonl", rows(12))}],
    }
    job = launch(
        base,
        folder,
        data={
            "domains": {"toy": data},
            "train_on": ["toy"],
            "transform": "mine:shorten",
            "collator": "mine:pad",
        },
        training={
            "epochs": 3,
            "global_batch_size": 8,
            "learning_rate": 1e-3,
            "max_length": 16,
            "warmup_ratio": 0.1,
            "seed": 5,
            "loss": "mine:smoothed",
        },
        engine=engine,
        resources={"workers": workers},
        checkpoint={"every_steps": 4, "keep": 2},
        selection={"metric": "toy/cost", "mode": "min"},
        evaluation={"metrics": ["accuracy"], "custom_metrics": {"cost": "mine:cost"}},
        runtime={"code": "/pkg"},
    )
    return with_code(job, {"mine.py": FUNCTIONS})


def script_job(folder: Path, mark: int = 0) -> Launch:
    arguments = {"steps": str(SCRIPT_STEPS), **({"mark": str(mark)} if mark else {})}
    return script_launch(
        folder,
        SCRIPT,
        task={"arguments": arguments},
        runtime={"code": "/pkg", "secrets": ["hf-token"]},
        resources={"workers": 2},
        training={"seed": 3},
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"), dropout=0.1)


def killed_and_resumed(first: Launch, second: Launch, sign: str) -> Launch:
    """Kills the first as soon as a file shows, and lets the second go on from there."""
    store = checkpoints_of(first)
    assert store.claim_attempt({}) == 1
    process = start(first)
    assert first.scratch is not None
    while process.poll() is None and not any(Path(first.scratch).glob(sign)):
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    kill_gang(process)
    newest = store.resume_point()
    assert newest is not None
    parent = {"attempt": 1, "step": newest.step}
    assert store.claim_attempt({"resumed_from": parent}) == 2
    resumed = second.model_copy(update={"attempt": 2, "resume": (newest.ref,)})
    assert start(resumed).wait() == 0, log_of(resumed)
    outcome = store.outcome(2)
    assert outcome is not None
    assert outcome["state"] == "SUCCEEDED"
    assert outcome["resumed_from_step"] == newest.step > 0
    return resumed


def check_same(case: dict[str, Any], num_steps: int) -> None:
    assert case["states"] == ["SUCCEEDED", "SUSPENDED", "SUCCEEDED"]
    assert case["steps"] == [num_steps, STOP_AT, num_steps]
    assert case["resumed_from_step"] == STOP_AT
    assert case["weights"][0] == case["weights"][1]
    assert case["metrics"][0] == case["metrics"][1]


@pytest.mark.cluster
def test_functions_in_a_gang_of_one(base: Path, gang: Gang, tmp_path: Path) -> None:
    engine = {"strategy": "ddp", "micro_batch_size": 8}
    whole, stopped = (functions_job(base, tmp_path / name, 1, engine) for name in ("a", "b"))

    case = compare(whole, stopped, gang)

    check_same(case, NUM_STEPS)
    assert set(case["metrics"][0]["toy"]) > {"accuracy", "cost"}
    assert case["selection"]["metric"] == "toy/cost"


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_gang_of_two_stopped_and_killed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions and a script, each: undisturbed; stopped; killed at a random moment."""
    monkeypatch.setitem(ENVIRONMENT, "HF_TOKEN", "hunter22")
    engine = {"zero_stage": 2, "micro_batch_size": 2}
    jobs = {
        "functions": [functions_job(base, tmp_path / f"f{n}", 2, engine) for n in range(3)],
        "script": [script_job(tmp_path / f"s{n}") for n in range(3)],
    }
    # 1. Undisturbed, and stopped by a Directive: one gang for all, since its start costs most.
    pairs = {
        name: [job.model_dump(mode="json") for job in found[:2]] for name, found in jobs.items()
    }
    (tmp_path / "launches.json").write_text(json.dumps(pairs))
    command = torchrun("tests.worker.custom.resume_gang", str(tmp_path))
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    check_same(found["functions"], NUM_STEPS)
    check_same(found["script"], SCRIPT_STEPS)
    assert found["functions"]["selection"]["metric"] == "toy/cost"
    # 2. Killed, hard.
    functions = jobs["functions"][2]
    resumed = killed_and_resumed(
        functions, functions, f"store/.checkpoints/{functions.job}/a1/step-4/manifest.json"
    )
    assert digest(resumed) == found["functions"]["weights"][0]
    mark = random.randrange(10, SCRIPT_STEPS // 2)
    script = jobs["script"][2]
    resumed = killed_and_resumed(script_job(tmp_path / "s2", mark), script, "script-0/mark")
    assert digest(resumed) == found["script"]["weights"][0], f"killed near step {mark}"
    # 3. What is published, and what is not.
    log = checkpoints_of(resumed).log(2, 0)
    assert b"my token is ***" in log
    assert b"hunter22" not in log
    registry = ModelRegistry(open_store(script.store))
    lineage = registry.read_json(registry.resolve("toy"), "lineage.json")
    assert lineage["code"]["sha256"] == script.identity.code
    assert [entry["attempt"] for entry in lineage["attempts"]] == [1, 2]
