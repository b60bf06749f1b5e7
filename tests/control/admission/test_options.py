"""What fits where, against facts that are widely published, and which way is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.admission.inputs import PlanInputs
from orchestrator.control.admission.memory import MemoryCase, worker_memory
from orchestrator.control.admission.option_records import EngineOption, FleetPlan, HardwarePlan
from orchestrator.control.admission.options import plan_fleets, ways
from orchestrator.control.admission.trainable import TrainedModel
from orchestrator.inspect.fleets import parse_fleets
from orchestrator.inspect.model import ModelFacts
from orchestrator.inspect.model_by_config import facts_by_config
from orchestrator.specs import ModelSpec
from tests.control.admission.builders import GB, data, machine, spec, tiny_model
from tests.inspect.published import LLAMA_2_7B, LLAMA_3_8B, LLAMA_3_70B, PUBLISHED

BF16 = {"precision": "bf16", "max_length": 512, "global_batch_size": 64}


def facts(config: dict[str, Any]) -> ModelFacts:
    return facts_by_config(config, "base", "d" * 64)


def planned(
    model: ModelFacts, *hardware: str, prices: dict[str, float] | None = None, **sections: Any
) -> HardwarePlan:
    inputs = PlanInputs(
        spec=spec(**{"training": BF16, **sections}),
        data=data(),
        tokens=None,
        model=model,
        base=ModelSpec(base="hf://meta-llama/Llama-2-7b-hf"),
        hardware=machine(),
        base_dir=Path("/specs"),
        default_store="s3://bucket",
        recipe="r",
    )
    return plan_fleets(inputs, parse_fleets(hardware), prices or {})


def fleet(model: ModelFacts, hardware: str, **more: Any) -> FleetPlan:
    return planned(model, hardware, **more).fleets[0]


def option(
    found: FleetPlan, stage: int, offload: str = "none", *, recomputed: bool = True
) -> EngineOption:
    (one,) = [
        o
        for o in found.options
        if (o.zero_stage, o.offload, o.gradient_checkpointing) == (stage, offload, recomputed)
    ]
    return one


# Widely published facts


def test_full_fine_tuning_needs_16_bytes_a_parameter() -> None:
    """2 weights, 2 gradients, 12 AdamW's state with its fp32 copy (ZeRO, section 3.1)."""
    alone = option(fleet(facts(LLAMA_2_7B), "1xA100-80GB"), 0).memory
    states = alone.weights_bytes + alone.gradients_bytes + alone.optimizer_bytes
    # Llama-2-7B without its output layer (32,000 x 4,096), with a new head of two classes
    parameters = 6_738_415_616 - 32_000 * 4096 + 2 * (4096 + 1)

    assert states == 16 * parameters == pytest.approx(106e9, rel=0.01)


def test_7b_on_one_gpu_needs_the_host() -> None:
    found = fleet(facts(LLAMA_2_7B), "1xA100-80GB")

    assert not option(found, 0).fits
    assert option(found, 0).short_gpu_bytes > 25 * GB
    assert option(found, 2, "optimizer").fits
    assert found.choice is not None
    assert found.choice.offload != "none"
    assert found.why == "the fastest that fits: without host memory nothing does"


def test_7b_on_eight_gpus_with_zero() -> None:
    found = fleet(facts(LLAMA_2_7B), "8xA100-80GB")

    assert not option(found, 0).fits  # as on one: nothing is sharded
    assert option(found, 3).fits
    assert option(found, 2).fits
    memory = option(found, 3).memory
    assert memory.optimizer_bytes == pytest.approx(12 * 6.607e9 / 8, rel=0.001)
    assert memory.gradients_bytes == pytest.approx(2 * 6.607e9 / 8, rel=0.001)
    assert found.choice is not None
    assert found.choice.offload == "none"


def test_7b_does_not_fit_four_gpus_of_24_gb_without_the_host() -> None:
    found = fleet(facts(LLAMA_2_7B), "4xL4")

    assert all(not o.fits for o in found.options if o.offload == "none")
    assert found.choice is not None


def test_70b_needs_sixteen_gpus_of_80_gb() -> None:
    """1,129 GB of states: more than eight hold, 70.6 GB on each of sixteen."""
    model = facts(LLAMA_3_70B)
    eight, sixteen = planned(model, "8xA100-80GB", "16xA100-80GB").fleets

    assert all(not o.fits for o in eight.options if o.offload == "none")
    assert option(eight, 3, "optimizer").fits  # 12 bytes a parameter are in 2 TB of host memory
    assert (sixteen.nodes, sixteen.workers) == (2, 16)
    assert option(sixteen, 3).fits
    assert [o.zero_stage for o in sixteen.options if o.fits and o.offload == "none"] == [3]


def test_405b_fits_no_two_machines() -> None:
    found = fleet(facts(PUBLISHED["Llama-3.1-405B"][0]), "2x8xH100")

    assert found.recommended is None
    assert found.choice is None
    assert found.why.startswith("no way fits: the most frugal still needs ")


def test_lora_of_8b_fits_a_gpu_of_24_gb_with_little_beside_the_weights() -> None:
    """A rank of 16 on every matrix trains 42 M parameters, half a percent."""
    model = facts(LLAMA_3_8B)
    adapters = 41_943_040
    base = model.parameters.total
    trained = TrainedModel(model, base + adapters, adapters, model.num_layers)
    memory = worker_memory(
        MemoryCase(
            model=trained,
            strategy="deepspeed",
            zero_stage=0,
            precision="bf16",
            offload="none",
            workers=1,
            on_gpu=True,
            micro_batch_size=1,
            length=512,
            num_labels=2,
            checkpointing=True,
            evaluation_rows=1,
        )
    )

    assert memory.weights_bytes == 2 * (base + adapters)
    assert memory.gradients_bytes + memory.optimizer_bytes == 14 * adapters  # 0.6 GB
    assert memory.total_bytes < 0.95 * 24 * GB < 16 * base


# What is told of each way


@pytest.mark.parametrize(
    ("strategy", "workers", "stages"),
    [
        ("deepspeed", 8, [0, 1, 2, 3, 2, 3, 3]),
        ("deepspeed", 1, [0, 2, 3, 3]),  # nothing to shard with, but a host to offload to
        ("ddp", 8, [0]),
    ],
)
def test_ways(strategy: str, workers: int, stages: list[int]) -> None:
    found = list(ways(strategy, workers))

    assert [way.zero_stage for way in found if not way.checkpointing] == stages
    assert len(found) == 2 * len(stages)


def test_micro_batches_are_the_largest_that_fit() -> None:
    found = fleet(facts(LLAMA_2_7B), "4xA100-40GB")
    sized = [o for o in found.options if o.fits]

    assert {o.micro_batch_size * o.accumulation * 4 for o in found.options} == {64}
    assert max(o.micro_batch_size for o in sized) == 16
    assert all(o.micro_batch_size == 1 for o in found.options if not o.fits)


def test_the_fastest_is_taken_and_of_equals_the_one_with_memory_to_spare() -> None:
    found = fleet(tiny_model(), "8xH100")
    choice = found.choice

    assert choice is not None
    fastest = min(o.step_seconds for o in found.options if o.fits)
    near = [o for o in found.options if o.fits and o.step_seconds <= 1.01 * fastest]
    assert len(near) > 1
    assert choice.gpu_bytes == min(o.gpu_bytes for o in near)
    assert found.why == "the fastest of the 14 that fit"


def test_a_step_is_the_sum_of_its_parts() -> None:
    found = option(fleet(facts(LLAMA_2_7B), "8xA100-80GB"), 3)
    tokens = 64 / 8 * 512
    forward = 2 * (6.607e9 - 32_000 * 4096) + 4 * 512 * 4096 * 32

    assert found.step.compute_seconds == pytest.approx(
        tokens * forward * 4 / (312e12 * 0.35), rel=0.001
    )
    # weights twice and gradients once, 7/8 of 2 bytes each, at 70% of 300 GB/s
    assert found.step.communication_seconds == pytest.approx(3 * 7 / 8 * 2 * 6.607e9 / 210e9, 0.001)
    assert found.step_seconds == pytest.approx(found.step.total_seconds, abs=1e-4)
    assert found.tokens_per_second == pytest.approx(64 * 512 / found.step.total_seconds, rel=0.001)


def test_costs_are_of_every_gpu_that_is_paid_for() -> None:
    model = facts(LLAMA_2_7B)
    priced, half = planned(
        model, "8xH100", "4xA100-80GB", prices={"H100": 2.5}, resources={"workers": 4}
    ).fleets
    choice = priced.choice

    assert choice is not None
    assert choice.cost == pytest.approx(8 * 2.5 * choice.total_seconds / 3600, abs=1e-3)
    assert (priced.price_per_gpu_hour, half.price_per_gpu_hour) == (2.5, None)
    assert half.choice is not None
    assert half.choice.cost is None


# Workers


def test_every_gpu_has_a_worker_unless_the_spec_says_otherwise() -> None:
    model = tiny_model()

    assert fleet(model, "2x8xH100").workers == 16
    written = fleet(model, "8xH100", resources={"workers": 2})
    assert written.workers == 2
    assert written.warnings == (
        "6 of the 8 GPUs of 8xH100 are idle, since the spec writes resources.workers: 2",
    )


def test_more_workers_than_gpus() -> None:
    found = fleet(tiny_model(), "1xH100", resources={"workers": 2})

    assert found.recommended is None
    assert found.options == ()
    (reason,) = found.reasons
    assert (reason.path, reason.message) == (
        "resources.workers",
        "2 workers are asked for, each on a GPU of its own, and 1xH100 has 1",
    )
    assert reason.change == "write resources.workers: 1, or remove it"


def test_a_batch_that_the_workers_do_not_divide() -> None:
    found = fleet(tiny_model(), "6xH100")
    (reason,) = found.reasons

    assert reason.path == "training.global_batch_size"
    assert reason.change == "write training.global_batch_size: 66"


def test_an_old_gpu_cannot_do_bf16() -> None:
    old, new = planned(tiny_model(), "8xT4", "8xA10").fleets

    assert [reason.path for reason in old.reasons] == ["training.precision"]
    assert new.choice is not None
    half = fleet(tiny_model(), "8xT4", training={**BF16, "precision": "fp16"})
    assert half.choice is not None


def test_what_the_spec_says_of_its_engine_is_for_its_own_hardware() -> None:
    engine = {"zero_stage": 3, "micro_batch_size": 2, "gradient_checkpointing": True}

    assert fleet(tiny_model(), "8xH100", engine=engine) == fleet(tiny_model(), "8xH100")
    (plain, recomputed) = fleet(tiny_model(), "8xH100", engine={"strategy": "ddp"}).options
    assert (plain.strategy, plain.zero_stage) == ("ddp", 0)
    assert recomputed.gradient_checkpointing


# What should be known


def test_a_base_too_large_to_be_read_whole_by_every_worker() -> None:
    found = fleet(facts(LLAMA_3_70B), "16xH100")

    (warning,) = found.warnings
    assert "8 workers that each read the whole base into host memory need 3,344 GB" in warning


def test_fp32_on_a_gpu_with_tensor_cores() -> None:
    plain = {**BF16, "precision": "fp32"}

    assert fleet(tiny_model(), "1xH100", training=plain).warnings == (
        "fp32 leaves the tensor cores idle: bf16 would compute up to 15 times as fast",
    )
    assert fleet(tiny_model(), "1xV100", training=plain).warnings == ()


def test_cautions() -> None:
    mixture = facts(PUBLISHED["Mixtral-8x7B"][0])
    inputs_known = planned(mixture, "8xH100").warnings

    assert len(inputs_known) == 2
    assert "tokens are not counted" in inputs_known[0]
    assert "every expert is counted" in inputs_known[1]


def test_a_plan_survives_json() -> None:
    found = planned(facts(LLAMA_2_7B), "8xA100-80GB", prices={"A100-80GB": 2.0})

    assert HardwarePlan.model_validate_json(found.model_dump_json()) == found
    assert found.fits
    assert not planned(facts(LLAMA_2_7B), "1xT4").fits


def test_cores_and_memory_are_the_fleets() -> None:
    resources = {"cpus_per_worker": 500, "memory_gb_per_worker": 0.1, "accelerator": "T4"}
    found = fleet(tiny_model(), "8xH100", resources=resources)

    assert found == fleet(tiny_model(), "8xH100")
    assert (found.cpus_per_worker, found.accelerator) == (14, "H100")
