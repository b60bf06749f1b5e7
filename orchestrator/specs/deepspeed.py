"""What of DeepSpeed's own configuration a spec may set: `engine.deepspeed`.

A closed list: how bytes move and how much is held at once. What would change what is learned, or
what the spec says elsewhere, is refused with the reason. `worker.training.deepspeed` merges it over
what it writes itself; `control.admission.memory` counts its buffers.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from orchestrator.specs.base import SpecError, SpecModel

_BATCHES = "write training.global_batch_size and engine.micro_batch_size"
_LEARNS = "it changes what is learned, which belongs to `training`"
_PRECISION = "write training.precision"
_OFFLOAD = "write engine.offload"
REFUSED = {
    "train_batch_size": _BATCHES,
    "train_micro_batch_size_per_gpu": _BATCHES,
    "gradient_accumulation_steps": _BATCHES,
    "optimizer": _LEARNS,
    "scheduler": _LEARNS,
    "gradient_clipping": "write training.max_grad_norm",
    "bf16": _PRECISION,
    "fp16": _PRECISION,
    "amp": _PRECISION,
    "torch_autocast": _PRECISION,
    "data_efficiency": _LEARNS,
    "curriculum_learning": _LEARNS,
    "progressive_layer_drop": _LEARNS,
    "compression_training": _LEARNS,
    "sparse_attention": _LEARNS,
    "eigenvalue": _LEARNS,
    "activation_checkpointing": (
        "transformers recomputes activations by torch, so it would never be read: "
        "write engine.gradient_checkpointing"
    ),
    "checkpoint": "checkpoints have one owner, and their formats are its own",
    "load_universal_checkpoint": "checkpoints have one owner, and their formats are its own",
    "elasticity": "only the controller changes the number of workers",
    "autotuning": "the plan chooses the engine",
    "tensor_parallel": "weights are sharded by ZeRO alone",
    "pipeline": "weights are sharded by ZeRO alone",
    "zero_allow_untested_optimizer": "it is set already",
    "zero_force_ds_cpu_optimizer": "the optimizer is torch's AdamW",
}
REFUSED_OF_ZERO = {
    "stage": "write engine.zero_stage",
    "offload_optimizer": _OFFLOAD,
    "offload_param": _OFFLOAD,
    "cpu_offload": _OFFLOAD,
    "zero_quantized_weights": _LEARNS,
    "zero_quantized_gradients": _LEARNS,
    "zero_quantized_nontrainable_weights": _LEARNS,
    "stage3_gather_16bit_weights_on_model_save": "published weights need it: it is set already",
    "load_from_fp32_weights": _PRECISION,
    "elastic_checkpoint": "checkpoints have one owner, and their formats are its own",
    "ignore_unused_parameters": _LEARNS,
}

_Bytes = Literal["fp32", "bf16", "fp16"]


class ZeroOptimization(SpecModel):
    """Sizes in elements, as DeepSpeed has them."""

    reduce_bucket_size: int | None = Field(
        default=None, ge=1, description="Gradients that are reduced at once; absent: 5e8."
    )
    allgather_bucket_size: int | None = Field(
        default=None, ge=1, description="Weights that are gathered at once, below stage 3."
    )
    allgather_partitions: bool | None = Field(
        default=None, description="Gather weights by all-gather, not by broadcasts, below stage 3."
    )
    reduce_scatter: bool | None = Field(
        default=None, description="Reduce gradients by reduce-scatter, not by all-reduce."
    )
    overlap_comm: bool | None = Field(
        default=None, description="Reduce while the way back goes on; absent: on GPUs."
    )
    contiguous_gradients: bool | None = Field(
        default=None, description="Copy gradients into one buffer; absent: yes."
    )
    round_robin_gradients: bool | None = Field(
        default=None, description="Spread copies of gradients over ranks, with offload in stage 2."
    )
    sub_group_size: int | None = Field(
        default=None, ge=1, description="Weights updated at once, in stage 3; absent: 1e9."
    )
    stage3_prefetch_bucket_size: int | None = Field(
        default=None, ge=0, description="Weights gathered ahead of their use."
    )
    stage3_param_persistence_threshold: int | None = Field(
        default=None, ge=0, description="Smaller weights are never sharded."
    )
    stage3_max_live_parameters: int | None = Field(
        default=None, ge=0, description="Gathered weights kept at most; absent: 1e9."
    )
    stage3_max_reuse_distance: int | None = Field(
        default=None, ge=0, description="Weights used again within so many are kept gathered."
    )
    zero_hpz_partition_size: int | None = Field(
        default=None, ge=1, description="Ranks of one node that hold all weights once, in stage 3."
    )
    use_multi_rank_bucket_allreduce: bool | None = Field(
        default=None, description="Reduce a bucket of several ranks' gradients in one call."
    )

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, value: Any) -> Any:
        return _without(value, REFUSED_OF_ZERO)


class DeepSpeedSpec(SpecModel):
    """DeepSpeed's own keys, as its documentation has them."""

    zero_optimization: ZeroOptimization | None = Field(
        default=None, description="How ZeRO moves weights and gradients."
    )
    communication_data_type: _Bytes | None = Field(
        default=None, description="Numbers that gradients are sent as; absent: the training's."
    )
    prescale_gradients: bool | None = Field(
        default=None, description="Divide gradients by the workers before they are summed."
    )
    gradient_predivide_factor: float | None = Field(
        default=None, gt=0, description="Divide gradients by so much before they are summed."
    )
    sparse_gradients: bool | None = Field(
        default=None, description="Send gradients of sparse embeddings as such."
    )
    wall_clock_breakdown: bool | None = Field(
        default=None, description="Log the seconds of forward, backward and update."
    )
    memory_breakdown: bool | None = Field(
        default=None, description="Log the memory before and after each of these."
    )
    steps_per_print: int | None = Field(
        default=None, ge=1, description="Log DeepSpeed's own progress each n steps; absent: never."
    )
    dump_state: bool | None = Field(
        default=None, description="Log the engine's state once it is made."
    )

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, value: Any) -> Any:
        return _without(value, REFUSED)


def _without(value: Any, refused: dict[str, str]) -> Any:
    if isinstance(value, dict):
        for name in value:
            if name in refused:
                raise SpecError(f"`{name}` is not for a spec: {refused[name]}", hint="remove it")
    return value
