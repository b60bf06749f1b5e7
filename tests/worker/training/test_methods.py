"""Which weights learn under each method."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedModel

from orchestrator.errors import InvalidInput
from orchestrator.specs import FreezeMethod, FullMethod
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training.methods import apply_method
from tests.worker.tiny import launch, write_base


@pytest.fixture
def model(tmp_path: Path) -> PreTrainedModel:
    base = write_base(tmp_path)
    return load_model(
        task_for(launch(base, tmp_path).spec.spec.task), base, load_tokenizer(base), seed=1
    )


def learning(model: PreTrainedModel) -> set[str]:
    return {
        name.removeprefix("bert.").rsplit(".", 1)[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def test_full_leaves_every_weight_learning(model: PreTrainedModel) -> None:
    apply_method(FullMethod(type="full"), model)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_freeze_stops_the_embeddings_and_the_first_layers(model: PreTrainedModel) -> None:
    apply_method(FreezeMethod(type="freeze", num_layers=1), model)
    assert not {name for name in learning(model) if "embeddings" in name or "layer.0" in name}
    assert "encoder.layer.1.output.dense" in learning(model)
    assert "classifier" in learning(model)


def test_zero_layers_freeze_the_embeddings_only(model: PreTrainedModel) -> None:
    apply_method(FreezeMethod(type="freeze", num_layers=0), model)
    assert not {name for name in learning(model) if "embeddings" in name}
    assert "encoder.layer.0.output.dense" in learning(model)


def test_feature_extraction_trains_the_head_alone(model: PreTrainedModel) -> None:
    apply_method(FreezeMethod(type="freeze", all_layers=True), model)
    assert learning(model) == {"classifier"}


def test_more_layers_than_there_are_is_refused(model: PreTrainedModel) -> None:
    with pytest.raises(InvalidInput, match=r"method\.num_layers: the base has 2 layers"):
        apply_method(FreezeMethod(type="freeze", num_layers=3), model)
