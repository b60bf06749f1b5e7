"""What is known of adapters and of where a base takes them, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.inspect.adapters import (
    AdapterFacts,
    adapter_problems,
    default_targets,
    promised_adapter,
    read_adapter,
    saved_whole,
    targeted,
)
from orchestrator.inspect.modules import TensorGroup, grouped
from orchestrator.inspect.safetensors import Tensor
from orchestrator.specs import FullMethod, LoraMethod
from tests.inspect.test_model import spec

LLAMA = (
    "model.embed_tokens.weight 100x8",
    *(
        f"model.layers.{layer}.{name}"
        for layer in (0, 1)
        for name in (
            "self_attn.q_proj.weight 8x8",
            "self_attn.k_proj.weight 4x8",
            "mlp.gate.weight 3x8",  # the router
            "mlp.experts.0.up_proj.weight 16x8",  # stored apart, run fused
            "mlp.down_proj.weight 8x16",
            "input_layernorm.weight 8",
        )
    ),
    "model.norm.weight 8",
)
T5 = (
    "shared.weight 100x8",
    "encoder.block.0.layer.0.SelfAttention.q.weight 8x8",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight 32x2",
    "decoder.block.0.layer.0.SelfAttention.q.weight 8x8",
    "decoder.block.0.layer.1.EncDecAttention.q.weight 8x8",
)


def groups(lines: tuple[str, ...]) -> tuple[TensorGroup, ...]:
    tensors = []
    for line in lines:
        name, _, sizes = line.partition(" ")
        tensors.append(Tensor(name, "F32", tuple(map(int, sizes.split("x")))))
    return grouped(tensors)


def test_what_all_layers_have_is_one_group() -> None:
    found = {group.name: (group.shape, group.count) for group in groups(LLAMA) if group.in_layers}
    assert found["self_attn.q_proj.weight"] == ((8, 8), 2)
    assert found["input_layernorm.weight"] == ((8,), 2)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (LLAMA, ("mlp.down_proj", "self_attn.k_proj", "self_attn.q_proj")),
        (T5, ("layer.0.SelfAttention.q", "layer.1.EncDecAttention.q")),
        (("embeddings.word_embeddings.weight 9x8", "pooler.dense.weight 8x8"), ()),
    ],
)
def test_targets_are_the_linear_modules_of_the_layers(
    lines: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert default_targets(groups(lines)) == expected


def test_a_name_means_every_module_it_ends() -> None:
    found = targeted(groups(T5), ("SelfAttention.q",))
    assert [(group.module, group.count) for group in found] == [("layer.0.SelfAttention.q", 2)]
    assert {group.module for group in targeted(groups(T5), ("q",))} == {
        "layer.0.SelfAttention.q",
        "layer.1.EncDecAttention.q",
    }
    assert targeted(groups(T5), ("Attention.q",)) == []


def test_a_module_that_learns_whole_holds_what_is_in_it() -> None:
    found = saved_whole(groups(LLAMA), ("self_attn",))
    assert {group.module for group in found} == {"self_attn.q_proj", "self_attn.k_proj"}


def problems(adapter: AdapterFacts | None = None, **method: Any) -> list[str]:
    body = spec(method={"type": "lora", **method})
    return [str(problem) for problem in adapter_problems(groups(LLAMA), adapter, body)]


def test_modules_that_are_not_there() -> None:
    assert problems(target_modules=["q_proj"], modules_to_save=["embed_tokens"]) == []
    (problem,) = problems(target_modules=["q_proj", "q_porj"])
    assert problem.startswith("method.target_modules[1]: the base has no linear module 'q_porj'")
    assert "did you mean q_proj?" in problem
    (problem,) = problems(target_modules=["embed_tokens"])
    assert problem.startswith("method.target_modules[0]: the base has no linear module")
    (problem,) = problems(modules_to_save=["pooler"])
    assert problem.startswith("method.modules_to_save[0]: the base has no module 'pooler'")


HELD = AdapterFacts(
    rank=8, alpha=16.0, target_modules=("k_proj", "q_proj"), modules_to_save=("score",)
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ({"rank": 4}, "method.rank"),
        ({"alpha": 8.0}, "method.alpha"),
        ({"use_dora": True}, "method.use_dora"),
        ({"use_rslora": True}, "method.use_rslora"),
        ({"target_modules": ["q_proj"]}, "method.target_modules"),
        ({"modules_to_save": ["embed_tokens"]}, "method.modules_to_save"),
    ],
)
def test_an_adapter_that_is_gone_on_with_keeps_its_kind(method: dict[str, Any], path: str) -> None:
    (problem,) = problems(HELD, **method)
    assert problem.startswith(f"{path}: the base is an adapter with {path[7:]} ")


def test_the_same_kind_may_be_written_out() -> None:
    same = {"rank": 8, "alpha": 16.0, "target_modules": ["q_proj", "k_proj"], "use_dora": False}
    assert problems(HELD, **same, modules_to_save=["score"]) == []
    assert problems(HELD) == []


def test_what_a_job_that_still_runs_will_publish() -> None:
    fields: dict[str, Any] = {"rank": 8, "alpha": 16.0, "target_modules": ("k_proj", "q_proj")}
    method = LoraMethod(type="lora", **fields, modules_to_save=("score",))
    assert promised_adapter(method) == HELD
    assert promised_adapter(LoraMethod(type="lora", **fields, merge=True)) is None
    assert promised_adapter(FullMethod(type="full")) is None


def write_config(folder: Path, **changes: Any) -> Path:
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["q_proj", "k_proj"],
        "modules_to_save": ["score"],
        **changes,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def test_an_adapters_config_tells_its_kind(tmp_path: Path) -> None:
    assert read_adapter(write_config(tmp_path)) == HELD


@pytest.mark.parametrize(
    "changes", [{"peft_type": "IA3"}, {"target_modules": ".*q_proj"}, {"r": None}]
)
def test_other_kinds_of_adapters_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_adapter(write_config(tmp_path, **changes))
    assert caught.value.problems[0].path == "model.base"
