"""Stopped or killed, then resumed: the weights of an undisturbed run, bit for bit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.records import Launch
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.worker.training import ops
from tests.embedded import family
from tests.worker.tiny import (
    launch,
    pairs,
    rows,
    texts,
    write_base,
    write_causal_base,
    write_seq2seq_base,
)

pytestmark = pytest.mark.timeout(1200)  # thirty trainings, on whatever the machine leaves

NUM_STEPS = 15
ENVIRONMENT = {**os.environ, **ops.environment(), "OMP_NUM_THREADS": "1"}
CLASSIFY = {"type": "text-classification", "labels": ["negative", "positive"]}
LORA: dict[str, Any] = {
    "type": "lora",
    "rank": 4,
    "alpha": 8.0,
    "dropout": 0.1,
    "target_modules": ["attention.self.query", "output.dense"],
}
LAST: dict[str, Any] = {"last": True, "metric": "toy/macro_f1", "mode": "max"}
CASES: dict[str, dict[str, Any]] = {
    "zero 2, accumulation": {"engine": {"zero_stage": 2, "micro_batch_size": 2}},
    "zero 3": {"engine": {"zero_stage": 3, "micro_batch_size": 4}},
    "zero 1, bf16": {"engine": {"zero_stage": 1, "micro_batch_size": 4}, "precision": "bf16"},
    "zero 0": {"engine": {"zero_stage": 0, "micro_batch_size": 4}},
    "ddp": {"engine": {"strategy": "ddp", "micro_batch_size": 4}},
    "mixed, weighted, zero 2": {
        "engine": {"zero_stage": 2, "micro_batch_size": 2},
        "task": {**CLASSIFY, "class_weights": {"weights": {"negative": 0.5, "positive": 2.0}}},
        "mixing": {
            "strategy": "curriculum",
            "stages": [{"domains": ["toy"], "share": 0.6}, {"domains": ["toy"], "share": 0.4}],
            "balance_classes": True,
            "replay": {"domains": ["old"], "fraction": 0.2},
        },
        "selection": LAST,
    },
    "zero 2, frozen": {
        "engine": {"zero_stage": 2, "micro_batch_size": 4},
        "method": {"type": "freeze", "num_layers": 1},
    },
    "causal, zero 2": {
        "engine": {"zero_stage": 2, "micro_batch_size": 2},
        "task": {"type": "causal-lm"},
    },
    "zero 2, features": {
        "engine": {"zero_stage": 2, "micro_batch_size": 4},
        "method": {"type": "freeze", "all_layers": True},
        "learning_rate": 2e-2,
    },
    "causal, packed, grouped by length": {
        "engine": {"zero_stage": 1, "micro_batch_size": 4},
        "task": {"type": "causal-lm"},
        "lengths": {"batching": {"packing": True, "group_by_length": True, "window": 2}},
    },
    "encoder-decoder, zero 3": {
        "engine": {"zero_stage": 3, "micro_batch_size": 4},
        "task": {"type": "translation"},
        "lengths": {"max_target_length": 16},
        "generation": {"max_samples": 7, "batch_size": 2, "max_new_tokens": 8, "num_beams": 2},
    },
    "masked, zero 2": {
        "engine": {"zero_stage": 2, "micro_batch_size": 2},
        "task": {"type": "masked-lm", "masked_share": 0.3},
        "method": {"type": "pretrain"},
    },
    "denoising, ddp": {
        "engine": {"strategy": "ddp", "micro_batch_size": 4},
        "task": {"type": "denoising", "objective": "infill", "masked_share": 0.3},
        "method": {"type": "pretrain"},
    },
    "label sets of pairs, zero 2": {
        "engine": {"zero_stage": 2, "micro_batch_size": 2},
        "task": {**CLASSIFY, "problem": "multi_label", "pairs": True},
        "gates": [{"metric": "mean/loss", "at_most": 9.0}, {"forgetting_at_most": 9.0}],
    },
    "labels by likelihood, two examples": {
        "engine": {"zero_stage": 2, "micro_batch_size": 2},
        "task": {**CLASSIFY, "by": "likelihood", "shots": 2, "prompt": "{text} =>"},
        "selection": LAST,
    },
    "numbers, lora": {
        "engine": {"zero_stage": 2, "micro_batch_size": 4},
        "task": {"type": "text-classification", "problem": "regression"},
        "method": LORA,
        "learning_rate": 2e-2,
    },
    "zero 2, lora, accumulation": {
        "engine": {"zero_stage": 2, "micro_batch_size": 2},
        "method": LORA,
        "learning_rate": 2e-2,
    },
    "zero 3, dora": {
        "engine": {"zero_stage": 3, "micro_batch_size": 4},
        "method": {**LORA, "use_dora": True},
        "selection": LAST,
    },
    "ddp, lora, merged": {
        "engine": {"strategy": "ddp", "micro_batch_size": 4},
        "method": {**LORA, "merge": True},
        "learning_rate": 2e-2,
    },
    "zero 2, meta": {
        "engine": {"zero_stage": 2, "micro_batch_size": 2},
        "method": {
            "type": "meta",
            "algorithm": "fomaml",
            "head": "shared",
            "episodes_per_step": 4,
            "shots": 2,
            "query": 1,
            "inner_steps": 2,
            "inner_learning_rate": 1e-3,
        },
        "evaluation": {
            "adaptation": {
                "domains": ["new"],
                "shots": [0, 2],
                "seeds": 2,
                "steps": 2,
                "batch_size": 8,
                "compare_with": ["plain", "joint"],
            }
        },
    },
    "zero 1, lora, bf16": {
        "engine": {"zero_stage": 1, "micro_batch_size": 4},
        "method": LORA,
        "precision": "bf16",
        "selection": LAST,
    },
}
BASES: dict[str, tuple[Callable[[Path], Path], Callable[[int], dict[str, list[str]]]]] = {
    "text-classification": (partial(write_base, dropout=0.1), rows),
    "causal-lm": (write_causal_base, texts),
    "translation": (write_seq2seq_base, pairs),
    "masked-lm": (partial(write_base, dropout=0.1, masks=True), texts),
    "denoising": (partial(write_seq2seq_base, dropout=0.1, masks=True), texts),
}
KILLED = "zero 2, accumulation"


def write_rows(path: Path, table: dict[str, list[Any]]) -> str:
    lines = [
        json.dumps(dict(zip(table, values, strict=True)))
        for values in zip(*table.values(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {task: write(tmp_path_factory.mktemp("base")) for task, (write, _) in BASES.items()}


def make_launch(bases: dict[str, Path], folder: Path, case: dict[str, Any]) -> Launch:
    """40 rows in batches of 8: five steps an epoch, three epochs; a checkpoint each fourth step."""
    folder.mkdir(exist_ok=True)
    task = case.get("task", CLASSIFY)
    kind = "causal-lm" if task.get("by") == "likelihood" else task["type"]
    base, some = bases[kind], partial(_rows_of, task)
    more = {name: case[name] for name in ("generation", "gates") if name in case}
    data = {
        "train": [{"path": write_rows(folder / "train.jsonl", some(40))}],
        "valid": [{"path": write_rows(folder / "valid.jsonl", some(12))}],
        "test": [{"path": write_rows(folder / "test.jsonl", some(12))}],
    }
    domains: dict[str, Any] = {"toy": data}
    mixing = case.get("mixing")
    if mixing is not None:
        domains["old"] = {"train": [{"path": write_rows(folder / "old.jsonl", some(9))}]}
    # Where episodes are drawn there is another domain to learn from, and one that is held out.
    is_meta = case.get("method", {}).get("type") == "meta"
    if is_meta:
        domains |= {"toy_too": {"train": data["test"], "valid": data["valid"]}}
        domains |= {"new": {"train": data["valid"], "test": data["test"]}}
    learned = ["toy", "toy_too"] if is_meta else ["toy"]
    if "gates" in case:
        domains["other"] = {"valid": [{"path": write_rows(folder / "other.jsonl", some(7))}]}
    return launch(
        base,
        folder,
        data={"domains": domains, "train_on": learned, "mixing": mixing},
        training={
            **({"max_steps": NUM_STEPS} if mixing or is_meta else {"epochs": 3}),
            "global_batch_size": 8,
            "learning_rate": case.get("learning_rate", 1e-3),
            "max_length": 16,
            "warmup_ratio": 0.1,
            "seed": 5,
            "precision": case.get("precision", "fp32"),
            **case.get("lengths", {}),
        },
        task=task,
        engine=case["engine"],
        method=case.get("method", {"type": "full"}),
        selection=case.get("selection", {"metric": "toy/loss", "mode": "min"}),
        resources={"workers": 2},
        checkpoint={"every_steps": 4, "keep": 2},
        evaluation={
            "bootstrap_samples": 10,
            **({"metrics": ["accuracy"]} if is_meta else {}),
            **more,
            **case.get("evaluation", {}),
        },
    )


def _rows_of(task: dict[str, Any], num_rows: int) -> dict[str, list[Any]]:
    some: dict[str, list[Any]] = dict(BASES[task["type"]][1](num_rows))
    if task.get("pairs"):
        some["text_pair"] = [f"the movie is {words}" for words in reversed(some["text"])]
    if task.get("problem") == "multi_label":
        some["label"] = [[label] if n % 3 else [] for n, label in enumerate(some["label"])]
    elif task.get("problem") == "regression":
        some["label"] = [len(text) / 20 for text in some["text"]]
    return some


def start(order: Launch) -> subprocess.Popen[bytes]:
    path = Path(order.scratch) / f"launch-{order.attempt}.json"
    path.write_text(order.model_dump_json())
    command = torchrun("orchestrator.worker.training.main", "--launch", str(path))
    log = (Path(order.scratch) / f"log-{order.attempt}").open("wb")
    return subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def log_of(order: Launch) -> str:
    return (Path(order.scratch) / f"log-{order.attempt}").read_text()[-3000:]


def store_of(order: Launch) -> CheckpointStore:
    return CheckpointStore(open_store(order.store), order.job)


def kill_when_committed(process: subprocess.Popen[bytes], order: Launch) -> None:
    """kill -9 of agent and ranks as soon as the first checkpoint is complete."""
    manifest = Path(order.store) / ".checkpoints" / order.job / "a1" / "step-4" / "manifest.json"
    while process.poll() is None and not manifest.exists():
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    kill_gang(process)


def kill_gang(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of agent and ranks, which have sessions of their own."""
    assert process.poll() is None, "the gang ended before it could be killed"
    for member in family(process.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def torchrun(module: str, *arguments: str) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node=2", "-m", module, *arguments]


@pytest.fixture(scope="module")
def found(
    bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """One gang trains all cases: its start costs more than the training."""
    folder = tmp_path_factory.mktemp("resume")
    pairs = {
        name: [
            make_launch(bases, folder / f"{number}-{part}", case).model_dump(mode="json")
            for part in ("undisturbed", "stopped")
        ]
        for number, (name, case) in enumerate(CASES.items())
    }
    (folder / "launches.json").write_text(json.dumps(pairs))
    command = torchrun("tests.worker.training.resume_gang", str(folder))
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results: dict[str, dict[str, Any]] = json.loads((folder / "found.json").read_text())
    return results


@pytest.mark.parametrize("name", CASES)
def test_stopped_and_resumed_ends_with_the_same_weights(
    name: str, found: dict[str, dict[str, Any]]
) -> None:
    case = found[name]
    assert case["states"] == ["SUCCEEDED", "SUSPENDED", "SUCCEEDED"]
    assert case["steps"] == [NUM_STEPS, 7, NUM_STEPS]
    assert case["resumed_from_step"] == 7
    assert case["published_step"] > 7, "weights from before the stop would prove nothing"
    assert case["resumed"] == case["undisturbed"]
    assert case["same_metrics"]
    assert case["promoted"] == ([True, True] if "gates" in CASES[name] else [None, None])


def test_killed_and_resumed_ends_with_the_same_weights(
    bases: dict[str, Path], tmp_path: Path, found: dict[str, dict[str, Any]]
) -> None:
    killed = make_launch(bases, tmp_path / "killed", CASES[KILLED])
    store_of(killed).claim_attempt({})
    kill_when_committed(start(killed), killed)
    newest = store_of(killed).resume_point()
    assert newest is not None
    assert newest.step >= 4
    attempt = store_of(killed).claim_attempt({"resumed_from": {"attempt": 1, "step": newest.step}})
    resumed = killed.model_copy(update={"attempt": attempt, "resume": (newest.ref,)})
    assert start(resumed).wait() == 0, log_of(resumed)
    outcome = store_of(resumed).outcome(attempt)
    assert outcome is not None
    assert outcome["resumed_from_step"] == newest.step
    assert outcome["step"] == NUM_STEPS
    weights = Path(resumed.store) / "toy" / "1" / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == found[KILLED]["undisturbed"]
