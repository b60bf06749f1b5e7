"""Which weights learn under each method."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from orchestrator.errors import InvalidInput, MissingExtra
from orchestrator.specs import FreezeMethod, FullMethod, LoraMethod, QloraMethod
from orchestrator.storage.adapters import Origin
from orchestrator.worker.models.adapters import write_adapter
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.models.start import Start
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training.methods import apply_method
from orchestrator.worker.training.methods.lora import learning_whole
from tests.worker.tiny import launch, write_base


@pytest.fixture
def base(tmp_path: Path) -> Start:
    folder = write_base(tmp_path / "base")
    return Start(folder, Origin(str(folder), None, "0" * 64))


@pytest.fixture
def model(base: Start) -> PreTrainedModel:
    task = task_for(launch(base.base, base.base).spec.spec, base.base)
    return load_model(task, base.base, load_tokenizer(base.base), seed=1)


def learning(model: torch.nn.Module) -> set[str]:
    return {
        name.removeprefix("bert.").rsplit(".", 1)[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def test_full_leaves_every_weight_learning(model: PreTrainedModel, base: Start) -> None:
    apply_method(FullMethod(type="full"), model, base, seed=1)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_freeze_stops_the_embeddings_and_the_first_layers(
    model: PreTrainedModel, base: Start
) -> None:
    apply_method(FreezeMethod(type="freeze", num_layers=1), model, base, seed=1)
    assert not {name for name in learning(model) if "embeddings" in name or "layer.0" in name}
    assert "encoder.layer.1.output.dense" in learning(model)
    assert "classifier" in learning(model)


def test_zero_layers_freeze_the_embeddings_only(model: PreTrainedModel, base: Start) -> None:
    apply_method(FreezeMethod(type="freeze", num_layers=0), model, base, seed=1)
    assert not {name for name in learning(model) if "embeddings" in name}
    assert "encoder.layer.0.output.dense" in learning(model)


def test_feature_extraction_trains_the_head_alone(model: PreTrainedModel, base: Start) -> None:
    apply_method(FreezeMethod(type="freeze", all_layers=True), model, base, seed=1)
    assert learning(model) == {"classifier"}


def test_more_layers_than_there_are_is_refused(model: PreTrainedModel, base: Start) -> None:
    with pytest.raises(InvalidInput, match=r"method\.num_layers: the base has 2 layers"):
        apply_method(FreezeMethod(type="freeze", num_layers=3), model, base, seed=1)


# Adapters


def lora(*targets: str, **fields: Any) -> LoraMethod:
    resolved = {"rank": 4, "alpha": 8.0, "use_dora": False, "use_rslora": False, **fields}
    return LoraMethod(type="lora", target_modules=targets, **resolved)


def updated(model: torch.nn.Module) -> set[str]:
    names = (name for name, _ in model.named_parameters() if ".lora_A." in name)
    return {name.removeprefix("base_model.model.bert.").partition(".lora_A")[0] for name in names}


def test_an_adapter_learns_beside_the_named_modules_and_with_the_head(
    model: PreTrainedModel, base: Start
) -> None:
    adapted = apply_method(lora("query", "attention.output.dense"), model, base, seed=1)
    assert updated(adapted) == {
        f"encoder.layer.{layer}.attention.{module}"
        for layer in (0, 1)
        for module in ("self.query", "output.dense")
    }
    whole = {name for name in learning(adapted) if "lora" not in name}
    assert whole == {"base_model.model.classifier.modules_to_save.default"}
    # rank x (in + out) for two modules in two layers of width 32, and the head of two labels
    learned = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert learned == 2 * 2 * 4 * (32 + 32) + 2 * 33


def test_an_adapter_changes_nothing_before_it_learns(model: PreTrainedModel, base: Start) -> None:
    inputs = {"input_ids": torch.tensor([[2, 4, 5, 3]])}
    model.eval()
    before = model(**inputs).logits
    adapted = apply_method(lora("query", "dense", use_dora=True), model, base, seed=1).eval()
    torch.testing.assert_close(adapted(**inputs).logits, before)


def test_new_matrices_follow_from_the_seed_alone(model: PreTrainedModel, base: Start) -> None:
    torch.manual_seed(1234)
    state = torch.random.get_rng_state()
    first = apply_method(lora("query"), copy.deepcopy(model), base, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    again = apply_method(lora("query"), copy.deepcopy(model), base, seed=1)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name


def test_what_the_files_of_a_base_lack_learns_whole(tmp_path: Path) -> None:
    """A model of masked words has no pooler: without it the adapter would be no classifier."""
    folder = write_base(tmp_path)
    config = BertConfig.from_pretrained(folder)
    BertForMaskedLM(config).save_pretrained(folder)
    task = task_for(launch(folder, folder).spec.spec, folder)
    model = load_model(task, folder, load_tokenizer(folder), seed=1)
    assert sorted(learning_whole(model, folder)) == ["bert.pooler", "classifier"]


def test_a_language_models_own_output_layer_stays(tmp_path: Path) -> None:
    folder = write_base(tmp_path)
    BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    model = BertForMaskedLM.from_pretrained(folder)
    assert learning_whole(model, folder) == []


@pytest.mark.parametrize(
    ("model", "target", "task"),
    [
        (
            lambda: GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2)),
            "c_attn",
            "CAUSAL_LM",
        ),
        (
            lambda: T5ForConditionalGeneration(
                T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
            ),
            "layer.1.EncDecAttention.q",
            "SEQ_2_SEQ_LM",
        ),
    ],
    ids=["causal", "encoder-decoder"],
)
def test_models_that_write_keep_their_output_layer(
    tmp_path: Path, model: Callable[[], PreTrainedModel], target: str, task: str
) -> None:
    """Of other kinds than classifiers: nothing is new, so only the matrices learn."""
    plain = model().eval()
    plain.save_pretrained(tmp_path)
    start = Start(tmp_path, Origin("base", None, "d"))
    adapted = apply_method(lora(target), plain, start, seed=1)
    assert all(".lora_" in name for name in learning(adapted))
    write_adapter(adapted, None, tmp_path / "adapter", start.origin)  # type: ignore[arg-type]
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["task_type"], config["modules_to_save"]) == (task, [])
    assert config["fan_in_fan_out"] == (task == "CAUSAL_LM")  # Conv1D keeps weights transposed


def test_four_bits_without_their_package_are_refused(
    model: PreTrainedModel, base: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    fields = lora("query").model_dump(exclude={"type"})
    with pytest.raises(MissingExtra, match="qlora needs bitsandbytes"):
        apply_method(QloraMethod(type="qlora", **fields), model, base, seed=1)


def test_modules_that_are_not_there_are_refused(model: PreTrainedModel, base: Start) -> None:
    with pytest.raises(
        InvalidInput, match=r"method\.target_modules: the base has no modules named"
    ):
        apply_method(lora("q_proj"), model, base, seed=1)
    with pytest.raises(InvalidInput, match="is a Embedding, not linear"):
        apply_method(lora("word_embeddings"), model, base, seed=1)
