"""What `test_meta.py` and its gang agree on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from orchestrator.records import Launch
from orchestrator.specs import MetaMethod
from orchestrator.worker.tasks.base import Encoded, Task
from tests.worker.tiny import launch, rows

STEPS = 3
SEED = 3
DOMAINS = {"camera": 14, "movie": 18, "news": 12}


@dataclass(frozen=True)
class Case:
    """A method and an engine; `given` and `training` replace what they have by default."""

    given: dict[str, Any]
    engine: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> MetaMethod:
        usual = {"type": "meta", "episodes_per_step": 4, "shots": 2, "inner_steps": 3}
        return MetaMethod.model_validate({**usual, "head": "shared", **self.given})


def make_launch(case: Case, base: Path, scratch: Path, workers: int) -> Launch:
    return launch(
        base,
        scratch,
        method=case.method.model_dump(mode="json", exclude_none=True),
        engine={"micro_batch_size": 3, **case.engine},
        training={
            "max_steps": STEPS,
            "warmup_ratio": 0.0,
            "schedule": "constant",
            "max_length": 16,
            "max_grad_norm": 0,
            "weight_decay": 0.0,
            "seed": SEED,
            **case.training,
        },
        evaluation={},
        resources={"workers": workers},
    )


def encoded_rows(task: Task, tokenizer: PreTrainedTokenizerBase) -> tuple[Encoded, dict[str, int]]:
    """Rows of all domains, one behind the other, and how many of them each has."""
    return task.encode(pa.table(rows(sum(DOMAINS.values()))), tokenizer), DOMAINS
