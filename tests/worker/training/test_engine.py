"""What a spec says of the engine as DeepSpeed and transformers get it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.specs import EngineSpec, TrainingSpec
from orchestrator.worker.models.attention import Surroundings, choose_attention
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training.deepspeed import deepspeed_config
from tests.worker.tiny import launch, write_base

CPU = Surroundings(on_gpu=False, has_flash=False)
GPU = Surroundings(on_gpu=True, has_flash=True)


def test_deepspeeds_own_keys_stand_over_ours_and_beside_them() -> None:
    given = {
        "zero_optimization": {"reduce_bucket_size": 1000, "overlap_comm": True},
        "communication_data_type": "fp32",
    }
    engine = EngineSpec.model_validate({"zero_stage": 2, "micro_batch_size": 4, "deepspeed": given})
    config = deepspeed_config(engine, TrainingSpec(), 2, on_gpu=False)

    assert config["zero_optimization"] == {
        "stage": 2,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": 1000,
    }
    assert config["communication_data_type"] == "fp32"
    assert config["train_batch_size"] == 32


def attention(tmp_path: Path, around: Surroundings, **sections: Any) -> str:
    base = write_base(tmp_path / "base")
    spec = launch(base, tmp_path, **sections).spec.spec
    model = load_model(task_for(spec, base), base, load_tokenizer(base), seed=0)
    return choose_attention(spec, model, around)


def test_attention_is_what_transformers_would_take(tmp_path: Path) -> None:
    assert attention(tmp_path, CPU) == "sdpa"


@pytest.mark.parametrize(
    "training",
    [
        {"precision": "fp32"},  # no kernels for it
        {"precision": "bf16", "batching": {"packing": True}},  # encoders need a mask then
    ],
)
def test_flash_attention_only_where_it_fits(training: dict[str, Any], tmp_path: Path) -> None:
    training = {"epochs": 1, "warmup_ratio": 0.0, "max_length": 16, **training}
    assert attention(tmp_path, GPU, training=training) == "sdpa"


def test_attention_that_is_asked_for(tmp_path: Path) -> None:
    engine = {"zero_stage": 2, "micro_batch_size": 8}
    assert attention(tmp_path, CPU, engine={**engine, "attention": "eager"}) == "eager"
    with pytest.raises(InvalidInput, match="flash_attention_2 is not to be had here"):
        attention(tmp_path / "2", CPU, engine={**engine, "attention": "flash_attention_2"})
