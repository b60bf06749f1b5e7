"""What an adapter is planned to be: chosen fields, parameters, bytes. Worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.control.admission.adapters import adapter_choices, resolved_method
from orchestrator.control.admission.choose import choose_engine
from orchestrator.control.admission.duration import checkpoint_bytes, training_flops
from orchestrator.control.admission.memory import MemoryCase, worker_memory
from orchestrator.control.admission.trainable import trained_model
from orchestrator.inspect.adapters import AdapterFacts
from orchestrator.inspect.model import ModelFacts
from orchestrator.inspect.modules import TensorGroup
from orchestrator.specs import AdapterMethod, EngineSpec, LoraMethod, QloraMethod
from tests.control.admission.builders import CLASSIFY, case, tiny_model


def layered(name: str, *shape: int) -> TensorGroup:
    return TensorGroup(name=name, shape=shape, count=2, in_layers=True)


# Two layers of width 8, feed-forward 16; with a head of two labels 1,000 parameters.
FACTS = tiny_model(
    tensors=(
        layered("attention.query.weight", 8, 8),
        layered("attention.query.bias", 8),
        layered("output.dense.weight", 8, 16),
        TensorGroup(name="embeddings.word.weight", shape=(30, 8), count=1, in_layers=False),
        TensorGroup(name="pooler.dense.weight", shape=(8, 8), count=1, in_layers=False),
    )
)


def lora(**fields: Any) -> LoraMethod:
    found = resolved_method(LoraMethod(type="lora", **fields), FACTS)
    assert isinstance(found, LoraMethod)
    return found


def with_adapter(method: AdapterMethod, **changes: Any) -> MemoryCase:
    return replace(case(**changes), model=trained_model(FACTS, CLASSIFY, method, 2))


def test_what_is_open_is_written_out() -> None:
    method = lora()
    assert (method.rank, method.alpha) == (16, 32.0)
    assert method.target_modules == ("attention.query", "output.dense")
    assert (method.use_dora, method.use_rslora) == (False, False)
    assert lora(rank=4).alpha == 8.0
    assert lora(alpha=1.0, target_modules=["query"]).target_modules == ("query",)


def test_an_adapter_to_go_on_with_decides_its_kind() -> None:
    held = AdapterFacts(
        rank=3, alpha=5.0, target_modules=("query",), modules_to_save=(), use_dora=True
    )
    facts = FACTS.model_copy(update={"adapter": held})
    written = LoraMethod(type="lora", dropout=0.2)
    method = resolved_method(written, facts)
    assert isinstance(method, LoraMethod)
    assert (method.rank, method.alpha, method.target_modules) == (3, 5.0, ("query",))
    assert method.use_dora
    assert method.dropout == 0.2
    shown = {choice.path: choice.why for choice in adapter_choices(written, method, facts)}
    assert shown["method.rank"] == "that of the adapter to go on with"


@pytest.mark.parametrize(
    ("fields", "learning"),
    [
        # rank x (in + out), two layers: 2 x (4 x 16 + 4 x 24) = 320; the head has 18
        ({"rank": 4}, 320 + 18),
        ({"rank": 4, "target_modules": ["query"]}, 2 * 4 * 16 + 18),
        ({"rank": 4, "target_modules": ["dense"]}, 2 * 4 * 24 + 4 * 16 + 18),  # the pooler too
        ({"rank": 4, "use_dora": True}, 320 + 2 * (8 + 8) + 18),  # a length for each output
        ({"rank": 4, "modules_to_save": ["pooler"]}, 320 + 64 + 18),
    ],
)
def test_parameters_that_learn(fields: dict[str, Any], learning: int) -> None:
    model = trained_model(FACTS, CLASSIFY, lora(**fields), 2)
    assert model.trainable_parameters == learning
    # The base, the frozen original of the head, and what learns.
    assert model.total_parameters == 982 + 18 + learning
    assert model.trainable_layers == 2


def test_only_what_learns_is_saved_and_published() -> None:
    model = trained_model(FACTS, CLASSIFY, lora(rank=4), 2)
    assert model.saved_parameters == model.published_parameters == 338
    # Merged: the base and the head.
    assert trained_model(FACTS, CLASSIFY, lora(rank=4, merge=True), 2).published_parameters == 1000


def test_frozen_weights_have_neither_gradients_nor_moments() -> None:
    memory = worker_memory(with_adapter(lora(rank=4)))
    assert memory.weights_bytes == 4 * (1000 + 338)
    assert memory.gradients_bytes == 4 * 338
    assert memory.optimizer_bytes == 8 * 338
    assert checkpoint_bytes(with_adapter(lora(rank=4))) == 12 * 338


def test_activations_of_an_update() -> None:
    """Beside the base's: what goes into each update, its mask, and rank elements behind it."""
    full, adapter = case(), with_adapter(lora(rank=4))
    more = worker_memory(adapter).activations_bytes - worker_memory(full).activations_bytes
    # Two layers, 24 inputs: 4 + 1 bytes each, and 2 x 4 elements behind them; 64 tokens, slack 1.4
    assert more == pytest.approx(64 * 1.4 * 2 * (24 * 5 + 2 * 4 * 4), abs=1)
    dry = with_adapter(lora(rank=4, dropout=0.0))
    spared = worker_memory(dry).activations_bytes - worker_memory(full).activations_bytes
    assert spared == pytest.approx(64 * 1.4 * 2 * (2 * 4 * 4), abs=1)


def test_the_way_back_computes_no_gradients_of_frozen_weights() -> None:
    adapter = with_adapter(lora(rank=4))
    # 2 passes instead of 3: forward, and backward through the layers.
    computed = 2 * (1338 - 400) + 4 * 16 * 8 * 2
    assert training_flops(adapter, 16) == 2 * computed


def qlora(facts: ModelFacts) -> AdapterMethod:
    found = resolved_method(QloraMethod(type="qlora", rank=4), facts)
    assert isinstance(found, QloraMethod)
    return found


def test_four_bits_hold_the_linear_modules_of_the_layers() -> None:
    model = trained_model(FACTS, CLASSIFY, qlora(FACTS), 2)
    assert model.quantized_parameters == 2 * (64 + 128)
    memory = worker_memory(replace(case(on_gpu=True), model=model))
    assert memory.weights_bytes == 4 * (1338 - 384) + round(0.53 * 384)


def test_four_bits_are_never_sharded_or_offloaded() -> None:
    on_gpu = replace(
        case(on_gpu=True, workers=2, strategy="deepspeed"),
        model=trained_model(FACTS, CLASSIFY, qlora(FACTS), 2),
    )
    tried = []

    def fits(candidate: MemoryCase) -> bool:
        tried.append((candidate.zero_stage, candidate.offload))
        return False

    choose_engine(EngineSpec(), on_gpu, 8, fits)
    assert set(tried) == {(2, "none"), (2, "optimizer")}
