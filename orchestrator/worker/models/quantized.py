"""Bases held in 4 bits (QLoRA): while they are trained beside, and while that is evaluated."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

from orchestrator.errors import MissingExtra
from orchestrator.specs import QloraMethod


def quantize(method: QloraMethod, model: PreTrainedModel) -> None:
    """Holds the linear modules of the layers in 4 bits; they become so on their way to the GPU.

    Dettmers et al. 2023, arXiv:2305.14314.
    """
    try:
        import bitsandbytes
    except ModuleNotFoundError:
        raise MissingExtra(
            "qlora needs bitsandbytes, which is not installed here",
            hint="pip install bitsandbytes, or write method.type: lora",
        ) from None
    compute = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    how = {
        "compress_statistics": method.double_quantization,
        "quant_type": method.quantization,
    }
    for parent, name, module in list(_linear_in_layers(model)):
        small = bitsandbytes.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=compute,
            **how,
        )
        small.weight = bitsandbytes.nn.Params4bit(module.weight.data, requires_grad=False, **how)
        small.bias = module.bias
        setattr(parent, name, small)
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # what PEFT and the Trainer ask


def _linear_in_layers(
    model: PreTrainedModel,
) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Linear]]:
    """Each with the module it is in and its name there."""
    for stack in (m for m in model.modules() if isinstance(m, torch.nn.ModuleList)):
        for parent in stack.modules():
            for name, module in parent.named_children():
                if type(module) is torch.nn.Linear:
                    yield parent, name, module
