"""The DeepSpeed configuration of a spec. Everything is written out: `auto` would hide what ran."""

from __future__ import annotations

from typing import Any

import torch

from orchestrator.specs import EngineSpec, TrainingSpec


def deepspeed_config(
    engine: EngineSpec, training: TrainingSpec, num_workers: int, on_gpu: bool
) -> dict[str, Any]:
    """DeepSpeed's JSON for `transformers.Trainer`, which keeps optimizer and schedule its own."""
    assert engine.micro_batch_size is not None, "the plan resolves engine.micro_batch_size"
    accumulation = training.global_batch_size // (engine.micro_batch_size * num_workers)
    ours: dict[str, Any] = {
        "train_batch_size": training.global_batch_size,
        "train_micro_batch_size_per_gpu": engine.micro_batch_size,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": training.max_grad_norm or _unclipped(engine),
        "bf16": {"enabled": training.precision == "bf16"},
        "fp16": {"enabled": training.precision == "fp16", "initial_scale_power": 16},
        "zero_optimization": _zero(engine, on_gpu),
        # The optimizer is torch's AdamW: DeepSpeed's fused one would be compiled at first use.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31 - 1,
        "wall_clock_breakdown": False,
    }
    if engine.deepspeed is None:
        return ours
    given = engine.deepspeed.model_dump(exclude_none=True)
    zero = {**ours["zero_optimization"], **given.pop("zero_optimization", {})}
    return {**ours, **given, "zero_optimization": zero}


def keep_gradient_norm(engine: Any) -> None:
    """Makes an engine without ZeRO in fp32 remember the norm it clips by, as the others do."""
    if engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled():
        return

    def clip() -> None:
        norm = torch.nn.utils.clip_grad_norm_(
            engine.module.parameters(), engine.gradient_clipping()
        )
        engine._global_grad_norm = norm.item()

    engine.clip_fp32_gradients = clip


def _unclipped(engine: EngineSpec) -> float:
    """0 turns clipping off; without ZeRO the norm is only computed where there is a bound."""
    return 0.0 if engine.zero_stage else 1e30


def _zero(engine: EngineSpec, on_gpu: bool) -> dict[str, Any]:
    zero: dict[str, Any] = {
        "stage": engine.zero_stage,
        "overlap_comm": on_gpu,  # gloo gains nothing from a second stream
        "contiguous_gradients": True,
    }
    if engine.zero_stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if engine.offload in ("optimizer", "parameters"):
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
    if engine.offload == "parameters":
        zero["offload_param"] = {"device": "cpu", "pin_memory": on_gpu}
    return zero
