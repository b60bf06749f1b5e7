"""Every number is worked out by hand for a model of 1,000 parameters (tests' builders)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.control.admission.memory import (
    GPU_CONTEXT_BYTES,
    PROCESS_BYTES,
    host_load_bytes,
    host_worker_bytes,
    worker_memory,
)
from orchestrator.control.admission.trainable import trained_model
from tests.control.admission.builders import (
    CLASSIFY,
    FREEZE_ALL,
    FREEZE_ONE,
    FULL,
    case,
    tiny_model,
)

# One layer keeps 4 x (10 x 8 + 2 x 16) = 448 bytes a token, and with dropout on a CPU three
# matrices of scores: 3 x 4 x 2 heads x 16 tokens = 384. Two layers, 64 tokens, slack 1.4:
ACTIVATIONS = 149_094  # 2 x 832 x 64 x 1.4, rounded
SHARDED = {"strategy": "deepspeed", "workers": 2}


@pytest.mark.parametrize(
    ("changes", "weights", "gradients", "optimizer", "buffers"),
    [
        # plain data parallelism: 4 + 4 + 8 bytes; the update's temporary is the largest tensor
        ({}, 4000, 4000, 8000, 4 * 240),
        # two workers: a bucket of all gradients
        ({"workers": 2}, 4000, 4000, 8000, 4000),
        ({**SHARDED, "zero_stage": 0}, 4000, 4000, 8000, 4000),
        # stages 1 and 2 update a flat fp32 copy: (8 + 4) x 500; temporaries 3 x 2000 + 960
        ({**SHARDED, "zero_stage": 1}, 4000, 4000, 6000, 6960),
        ({**SHARDED, "zero_stage": 2}, 4000, 2000, 6000, 6960),
        # stage 3 in fp32 needs no copy: 8 x 500; weights are its share and the gathered ones;
        # bucket 4000, gradients in flight 4000, staged 3 x 4000
        ({**SHARDED, "zero_stage": 3}, 2000 + 4000, 2000, 4000, 20000),
        # one worker shards nothing: 3 x 4000 + 960, and 960 + 3 x 4000 + a bucket of 4000
        ({**SHARDED, "workers": 1, "zero_stage": 2}, 4000, 4000, 12000, 12960),
        ({**SHARDED, "workers": 1, "zero_stage": 3}, 8000, 4000, 8000, 16960),
        # bf16 under DeepSpeed: 2 bytes a weight and gradient, an fp32 copy at every stage
        ({**SHARDED, "zero_stage": 0, "precision": "bf16"}, 2000, 2000, 12000, 4000 + 960),
        ({**SHARDED, "zero_stage": 2, "precision": "bf16"}, 2000, 1000, 6000, 6960),
        ({**SHARDED, "zero_stage": 3, "precision": "bf16"}, 1000 + 2000, 1000, 6000, 10000),
        # bf16 under DDP is autocast's: everything that is held stays fp32
        ({"precision": "bf16"}, 4000, 4000, 8000, 960),
    ],
)
def test_states_and_buffers(
    changes: dict[str, Any], weights: int, gradients: int, optimizer: int, buffers: int
) -> None:
    found = worker_memory(case(**changes))

    assert (found.weights_bytes, found.gradients_bytes) == (weights, gradients)
    assert (found.optimizer_bytes, found.buffers_bytes) == (optimizer, buffers)
    assert found.process_bytes == PROCESS_BYTES


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ACTIVATIONS),
        ({"micro_batch_size": 8}, 298_189),  # twice as many tokens: 2 x 832 x 128 x 1.4
        # 32 tokens a row: scores twice as large, tokens twice as many: 2 x (448 + 768) x 128 x 1.4
        ({"length": 32}, 435_814),
        # recomputed: the layers' inputs (2 x 8 x 4) and two whole layers: (64 + 1664) x 64 x 1.4
        ({"checkpointing": True}, 154_829),
        # bf16: 2 x 112, queries to values upcast 3 x 8 x 2, scores as before: (224 + 48 + 384)
        ({"precision": "bf16", "strategy": "deepspeed"}, 117_555),
        # and under autocast four tensors stay fp32: + 4 x 8 x 2
        ({"precision": "bf16", "strategy": "ddp"}, 129_024),
    ],
)
def test_activations_on_a_cpu(changes: dict[str, Any], expected: int) -> None:
    assert worker_memory(case(**changes)).activations_bytes == expected


def test_attention_without_dropout_keeps_no_scores() -> None:
    without = trained_model(tiny_model(attention_dropout=0.0), CLASSIFY, FULL, 2)

    assert worker_memory(case(model=without)).activations_bytes == 80_282  # 2 x 448 x 64 x 1.4


def test_a_gated_feed_forward_part_keeps_twice_as_much_of_its_size() -> None:
    llama = trained_model(tiny_model(model_type="llama", attention_dropout=0.0), CLASSIFY, FULL, 2)

    # 2 x 4 x (10 x 8 + 4 x 16) x 64 x 1.4
    assert worker_memory(case(model=llama)).activations_bytes == 103_219


def test_shared_keys_and_values_are_smaller() -> None:
    shared = tiny_model(model_type="llama", attention_dropout=0.0, num_heads=4, num_kv_heads=1)

    # 2 x 4 x (8 x 8 + 2 x 8 / 4 + 4 x 16) x 64 x 1.4
    found = worker_memory(case(model=trained_model(shared, CLASSIFY, FULL, 2)))
    assert found.activations_bytes == 94_618


def test_recomputing_saves_in_deep_models() -> None:
    deep = trained_model(tiny_model(num_layers=12), CLASSIFY, FULL, 2)

    # inputs of 12 layers and three whole ones: (12 x 32 + 3 x 832) x 64 x 1.4
    assert worker_memory(case(model=deep, checkpointing=True)).activations_bytes == 258_048
    assert worker_memory(case(model=deep)).activations_bytes == 894_566


def test_frozen_layers_have_no_gradients_and_keep_nothing() -> None:
    found = worker_memory(case(FREEZE_ONE))  # 400 + 250 of 1,000 do not learn

    assert found.weights_bytes == 4000
    assert (found.gradients_bytes, found.optimizer_bytes) == (4 * 350, 8 * 350)
    assert found.activations_bytes == 74_547  # 1 x 832 x 64 x 1.4


def test_feature_extraction_trains_the_head_only() -> None:
    found = worker_memory(case(FREEZE_ALL))

    assert (found.gradients_bytes, found.optimizer_bytes) == (4 * 18, 8 * 18)
    assert found.activations_bytes == 74_547  # one layer's forward at a time


def test_evaluation_counts_where_it_needs_more() -> None:
    # 100 rows x 16 tokens x 4 x (4 x 8 + 16) = 307,200 beyond what activations leave
    found = worker_memory(case(evaluation_rows=100))

    assert found.buffers_bytes == 307_200 - ACTIVATIONS


def test_logits() -> None:
    assert worker_memory(case()).logits_bytes == 3 * 4 * 4 * 2


def test_parts_add_up_and_survive_json() -> None:
    found = worker_memory(case(strategy="deepspeed", zero_stage=3, workers=2))
    parts = json.loads(found.model_dump_json())

    assert found.total_bytes == sum(parts.values())


def test_gpu_reuses_activations_and_holds_whole_buckets() -> None:
    found = worker_memory(case(on_gpu=True, strategy="deepspeed", zero_stage=2, workers=2))

    assert found.activations_bytes == 63_078  # 2 x 448 x 64 x 1.1: fused attention, less slack
    assert found.buffers_bytes == 2 * 4 * 500_000_000  # two of DeepSpeed's buckets
    assert found.process_bytes == GPU_CONTEXT_BYTES


@pytest.mark.parametrize(
    ("stage", "offload", "device", "host"),
    [
        (2, "none", (4000, 2000, 6000), 0),
        (2, "optimizer", (4000, 0, 0), 6000 + 2000),
        # the optimizer's own copy (8 + 4) x 500, gradients, and the weights as they are held
        (3, "optimizer", (6000, 0, 0), 6000 + 2000),
        (3, "parameters", (4000, 0, 0), 6000 + 2000 + 6000),
    ],
)
def test_offloading_moves_states_to_the_host(
    stage: int, offload: str, device: tuple[int, int, int], host: int
) -> None:
    gpu_case = case(on_gpu=True, strategy="deepspeed", zero_stage=stage, workers=2, offload=offload)
    found = worker_memory(gpu_case)

    assert (found.weights_bytes, found.gradients_bytes, found.optimizer_bytes) == device
    assert host_worker_bytes(gpu_case, found) == PROCESS_BYTES + host


def test_host_memory() -> None:
    plain = case()

    assert host_worker_bytes(plain, worker_memory(plain)) == worker_memory(plain).total_bytes
    assert host_load_bytes(plain) == PROCESS_BYTES + 3928 + 4000


def test_more_workers_never_need_more_each_under_stage_2() -> None:
    totals = [
        worker_memory(case(strategy="deepspeed", zero_stage=2, workers=n)).total_bytes
        for n in (2, 3, 4, 8)
    ]

    assert totals == sorted(totals, reverse=True)
