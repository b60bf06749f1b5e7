"""What `test_exactness.py` and its gang agree on about meta-learning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from orchestrator.records import Launch
from orchestrator.specs import MetaMethod
from orchestrator.worker.data.episodes import Episodes
from orchestrator.worker.tasks.base import Encoded, Task
from tests.worker.tiny import launch, rows

STEPS = 3
SEED = 3
DOMAINS = {"camera": range(14), "movie": range(14, 32), "news": range(32, 44)}


@dataclass(frozen=True)
class MetaCase:
    """A method and an engine; `given` and `training` replace what they have by default."""

    given: dict[str, Any]
    engine: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> MetaMethod:
        usual = {"type": "meta", "episodes_per_step": 4, "shots": 2, "inner_steps": 3}
        return MetaMethod.model_validate({**usual, "head": "shared", **self.given})


REPTILE = {"algorithm": "reptile", "inner_optimizer": "sgd", "inner_learning_rate": 0.1}
FOMAML = {"algorithm": "fomaml", "inner_optimizer": "adam", "inner_learning_rate": 1e-3, "query": 3}
BY_SGD = {"outer_optimizer": "sgd"}
FAR = {"learning_rate": 0.5}
FRESH = {"head": "fresh"}  # a head of zeros: what lies below it moves far in large steps only
# A gradient that is nothing but rounding, as of the keys' biases, must not become a step by AdamW.
NEAR = {"learning_rate": 1e-3, "adam_epsilon": 1e-3}
DDP: dict[str, Any] = {"strategy": "ddp"}
META_CASES = {
    "reptile-zero0": MetaCase({**REPTILE, **BY_SGD}, {"zero_stage": 0}, FAR),
    "reptile-zero2": MetaCase({**REPTILE, **BY_SGD}, {"zero_stage": 2}, FAR),
    "reptile-ddp": MetaCase({**REPTILE, **BY_SGD}, DDP, FAR),
    "reptile-fresh": MetaCase(
        {**REPTILE, **BY_SGD, **FRESH, "inner_learning_rate": 10.0}, {"zero_stage": 1}, FAR
    ),
    "reptile-clipped": MetaCase(REPTILE, {"zero_stage": 2}, {**NEAR, "max_grad_norm": 0.05}),
    "fomaml-zero1": MetaCase({**FOMAML, **BY_SGD}, {"zero_stage": 1}, FAR),
    "fomaml-zero2": MetaCase(FOMAML, {"zero_stage": 2}, NEAR),
    "fomaml-ddp": MetaCase(FOMAML, DDP, NEAR),
    "fomaml-fresh": MetaCase({**FOMAML, **BY_SGD, **FRESH, "inner_learning_rate": 1e-2}, DDP, FAR),
}


def meta_launch(case: MetaCase, base: Path, scratch: Path, workers: int) -> Launch:
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


def encoded_rows(task: Task, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Rows of all domains, one behind the other."""
    return task.encode(pa.table(rows(44)), tokenizer)


def episodes_of_case(case: MetaCase, encoded: Encoded) -> Episodes:
    return Episodes(
        domains={name: np.array(rows) for name, rows in DOMAINS.items()},
        targets=encoded.targets,
        digest="toy",
        seed=SEED,
        shots=case.method.shots,
        query=case.method.query_of_each,
    )
