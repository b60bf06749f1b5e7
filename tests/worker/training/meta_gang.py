"""One rank of the gang of `test_meta.py`: trains each case, keeps its weights and losses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from safetensors.torch import save_file
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from orchestrator.storage.adapters import Origin
from orchestrator.worker.data.episodes import Episodes, domain_rows
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.models.start import Start
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training.checkpointing import Progress
from orchestrator.worker.training.episodic import EpisodicTrainer, episode_batches
from orchestrator.worker.training.reporting import Reporter
from orchestrator.worker.training.trainer import Run
from tests.worker.training.exactness_gang import LossOnly, NoCheckpoints
from tests.worker.training.meta_cases import Case, encoded_rows, make_launch


class StepsOnly(EpisodicTrainer, LossOnly):
    """Neither evaluates nor saves."""


def train(case: Case, base: Path, scratch: Path, gang: Gang) -> dict[str, Any]:
    order = make_launch(case, base, scratch, workers=gang.world_size)
    spec = order.spec.spec
    task, tokenizer = task_for(spec, base), load_tokenizer(base)
    encoded, counts = encoded_rows(task, tokenizer)
    assert spec.training.max_steps is not None
    run = Run(
        launch=order,
        start=Start(base, Origin(str(base), None, "")),
        gang=gang,
        task=task,
        tokenizer=tokenizer,
        train=encoded,
        valid={},
        batches=episode_batches(spec, len(encoded), gang.world_size),
        evaluation=EvaluationPass(task, tokenizer, gang, 8, torch.device("cpu")),
        checkpointer=NoCheckpoints(),  # type: ignore[arg-type]
        reporter=Reporter(order, gang.rank),
        progress=Progress(),
        num_steps=spec.training.max_steps,
    )
    method = case.method
    episodes = Episodes(
        domains=domain_rows(counts),
        targets=encoded.targets,
        digest="toy",
        seed=spec.training.seed,
        shots=method.shots,
        query=method.query_of_each,
    )
    model = load_model(task, base, tokenizer, spec.training.seed)
    trainer = StepsOnly(run, model, episodes, scratch)
    trainer.train()
    weights = {name: value.detach().float().clone() for name, value in model.named_parameters()}
    unset_hf_deepspeed_config()
    AcceleratorState._reset_state(reset_partial_state=False)
    return {"losses": [row["loss"] for row in run.history], "weights": weights}


def main() -> None:
    scratch, base = Path(sys.argv[1]), Path(sys.argv[2])
    gang = Gang.join()
    losses = {}
    for name, document in json.loads((scratch / "cases.json").read_text()).items():
        found = train(Case(**document), base, scratch, gang)
        losses[name] = found["losses"]
        if gang.is_first:
            save_file(found["weights"], scratch / f"{name}.safetensors")
    if gang.is_first:
        (scratch / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
