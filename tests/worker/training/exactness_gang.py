"""One rank of the gang of `test_exactness.py`: trains each case, keeps losses and norms."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from accelerate.state import AcceleratorState
from transformers.integrations import unset_hf_deepspeed_config

from orchestrator.storage.adapters import Origin
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.orders import Shuffled
from orchestrator.worker.data.task_rows import TaskRows
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.models.start import Start
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import Encoded, HasParts, HidesTokens, Task
from orchestrator.worker.training.arguments import training_arguments
from orchestrator.worker.training.checkpointing import Progress
from orchestrator.worker.training.methods import apply_method
from orchestrator.worker.training.reporting import Reporter
from orchestrator.worker.training.trainer import FineTuneTrainer, Run
from tests.worker.tiny import launch, shard_everything


class NoCheckpoints:
    """Stands where a Checkpointer is; this gang measures steps and saves nothing."""

    committed_step = None


class LossOnly(FineTuneTrainer):
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self.control.should_evaluate = False
        return {}

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        self.control.should_save = False


def train(case: dict[str, Any], base: Path, scratch: Path, gang: Gang) -> list[dict[str, float]]:
    order = launch(
        base,
        scratch,
        training={**case["training"], "warmup_ratio": 0.0, "max_length": 16},
        engine=case["engine"],
        task=case["task"],
        tasks=case.get("tasks"),
        method=case["method"],
        evaluation={},
        resources={"workers": gang.world_size},
    )
    start = Start(base, Origin(str(base), None, ""))
    spec = order.spec.spec
    task, tokenizer = task_for(spec, base), load_tokenizer(base)
    encoded = encoded_rows(task, case["rows"], tokenizer)
    batches = BatchPlan(
        order=Shuffled("toy", spec.training.seed, len(encoded)),
        global_batch_size=spec.training.global_batch_size,
        micro_batch_size=spec.engine.micro_batch_size or 1,
        num_workers=gang.world_size,
    )
    run = Run(
        launch=order,
        start=start,
        gang=gang,
        task=task,
        tokenizer=tokenizer,
        train=encoded,
        valid={},
        batches=batches,
        evaluation=EvaluationPass(task, tokenizer, gang, 8, torch.device("cpu")),
        checkpointer=NoCheckpoints(),  # type: ignore[arg-type]
        reporter=Reporter(order, gang.rank),
        progress=Progress(),
        num_steps=case["training"]["max_steps"],
    )
    seed = spec.training.seed
    model = apply_method(spec.method, load_model(task, base, tokenizer, seed), start, seed)
    trainer = LossOnly(run, model, training_arguments(spec, run.num_steps, scratch))
    trainer.train()
    unset_hf_deepspeed_config()  # a gang trains once; the next case must not see this one's
    AcceleratorState._reset_state(reset_partial_state=False)
    return [{key: row[key] for key in ("loss", "grad_norm")} for row in run.history]


def encoded_rows(task: Task, rows: Any, tokenizer: Any) -> Encoded:
    """The rows of a table, or of a table for each of several tasks."""
    if not isinstance(task, HasParts):
        encoded = task.encode(pa.table(rows), tokenizer)
        return task.hidden(encoded, tokenizer) if isinstance(task, HidesTokens) else encoded
    parts = [task.task(name).encode(pa.table(own), tokenizer) for name, own in rows.items()]
    return TaskRows(parts, range(len(parts)))


def main() -> None:
    scratch = Path(sys.argv[1])
    cases = json.loads((scratch / "cases.json").read_text())
    gang = Gang.join()
    shard_everything()
    found = {name: train(case, Path(case["base"]), scratch, gang) for name, case in cases.items()}
    if gang.is_first:
        (scratch / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
