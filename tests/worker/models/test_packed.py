"""Packed batches give the loss and the gradient of padded ones, for every kind that may pack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    set_seed,
)

from orchestrator.inspect import architectures
from orchestrator.worker.data.batches import IGNORED
from orchestrator.worker.data.packing import Packing
from orchestrator.worker.models.packed import prepare_packing

LENGTHS = (5, 9, 3, 12, 7, 2, 11, 4)
PAD = 1
SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "head_dim": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 24,
    "embedding_size": 32,
    "pad_token_id": PAD,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "num_experts": 2,
    "num_local_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 32,
}


def tiny(kind: str, builder: Any, **how: Any) -> PreTrainedModel:
    """Two layers without dropout: of all else the kind's own settings."""
    known = CONFIG_MAPPING[kind]()
    names = known.to_dict() | dict.fromkeys(known.attribute_map)
    sizes = {name: value for name, value in SMALL.items() if name in names}
    dropouts = {n: 0.0 for n in names if "dropout" in n or n.endswith("_pdrop")}
    set_seed(1)
    config = CONFIG_MAPPING[kind](**dropouts, **sizes)
    model: PreTrainedModel = builder.from_config(config, **how)
    return model.train()


def batch(labels: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = len(LENGTHS), max(LENGTHS)
    ids, mask = torch.full(shape, PAD), torch.zeros(shape, dtype=torch.long)
    tokens = torch.full(shape, IGNORED)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = torch.randint(4, 64, (length,), generator=generator)
        mask[row, :length] = 1
        tokens[row, 1:length] = ids[row, 1:length]
    classes = torch.arange(len(LENGTHS)) % 2
    chosen = classes if labels == "classes" else tokens
    return {"input_ids": ids, "attention_mask": mask, "labels": chosen}


def learn(model: PreTrainedModel, rows: dict[str, torch.Tensor], shift: int) -> tuple[float, Any]:
    """(mean loss, gradient)."""
    rows = dict(rows)
    labels = rows.pop("labels")
    logits = model(**rows).logits
    if shift:
        logits, labels = logits[:, :-shift], labels[:, shift:]
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=IGNORED
    )
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    grads = [p.grad.reshape(-1).clone() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(grads)


def check(model: PreTrainedModel, labels: str, shift: int = 0) -> Packing:
    plain = learn(model, batch(labels), shift)
    packing = prepare_packing(model, PAD)
    packs = packing.packed(batch(labels))
    assert packs["input_ids"].shape[0] < len(LENGTHS)
    packed = learn(model, packs, shift)

    assert packed[0] == pytest.approx(plain[0], abs=1e-6)
    assert (packed[1] - plain[1]).norm() / plain[1].norm() < 1e-5
    return packing


@pytest.mark.parametrize("kind", sorted(architectures._PACKED_BY_POSITION))
def test_causal_models(kind: str) -> None:
    check(tiny(kind, AutoModelForCausalLM), "tokens", shift=1)


@pytest.mark.parametrize("kind", sorted(architectures._PACKED_BY_MASK))
def test_encoders_that_classify(kind: str) -> None:
    check(tiny(kind, AutoModelForSequenceClassification), "classes")


@pytest.mark.parametrize("kind", ["bert", "mpnet", "roberta"])
def test_encoders_that_predict_tokens(kind: str) -> None:
    check(tiny(kind, AutoModelForMaskedLM), "tokens")


def test_attention_that_adds_its_mask() -> None:
    check(tiny("bert", AutoModelForSequenceClassification, attn_implementation="eager"), "classes")
    check(tiny("llama", AutoModelForCausalLM, attn_implementation="eager"), "tokens", shift=1)


def test_a_kind_that_counts_positions_itself_is_known_not_to_pack() -> None:
    """OPT takes positions from the mask: its packed rows would be learned wrongly."""
    assert not architectures.can_pack("causal-lm", "opt")
    with pytest.raises(AssertionError):
        check(tiny("opt", AutoModelForCausalLM), "tokens", shift=1)


def test_padded_batches_are_read_as_before() -> None:
    model = tiny("bert", AutoModelForSequenceClassification)
    before = learn(model, batch("classes"), 0)
    prepare_packing(model, PAD)
    assert learn(model, batch("classes"), 0)[0] == before[0]
