"""Models that read packed batches (`data.packing`): what they must be told, and what back.

A causal model and one that labels tokens read packs as they are. A classifier takes the first
token of each sequence: between its layers and its head the packs are parted into rows again. Which
kinds can is in `inspect.architectures`; called by the training function.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from orchestrator.inspect.architectures import CAUSAL_LM, PADDED_POSITIONS
from orchestrator.worker.data.packing import ROW_STARTS, Packing

_STACKS = ("encoder", "transformer")


def prepare_packing(outermost: torch.nn.Module, pad_id: int) -> Packing:
    """How batches are packed for a model, which from now on reads them.

    Args:
        outermost: What is called with batches: the model, or an adapter around it.
        pad_id: What fills packs up.
    """
    model = outermost.get_base_model() if isinstance(outermost, PeftModel) else outermost
    assert isinstance(model, PreTrainedModel)
    RowParting(outermost, model)
    return packing_for(model, pad_id)


def packing_for(model: PreTrainedModel, pad_id: int) -> Packing:
    """How batches are packed for a model."""
    config = model.config
    is_causal = config.model_type in CAUSAL_LM
    padded = config.model_type in PADDED_POSITIONS
    return Packing(
        hidden_size=config.hidden_size,
        is_causal=is_causal,
        pad_id=pad_id,
        first_position=int(config.pad_token_id) + 1 if padded else 0,
        masks_nothing=is_causal and "flash" in str(config._attn_implementation),
    )


class RowParting:
    """Parts the packs of one forward pass into rows before the head sees them."""

    def __init__(self, outermost: torch.nn.Module, model: PreTrainedModel) -> None:
        """
        Args:
            outermost: What is called with batches: the model, or an adapter around it.
            model: The one with layers and head.
        """
        self._starts: torch.Tensor | None = None
        self._eager = model.config._attn_implementation == "eager"
        self._is_causal = model.config.model_type in CAUSAL_LM
        self._model = model
        outermost.register_forward_pre_hook(self._before, with_kwargs=True)
        base = model.base_model
        stack = next((found for name in _STACKS if (found := getattr(base, name, None))), None)
        if stack is not None:
            stack.register_forward_hook(self._after_layers)

    def _before(
        self, _: torch.nn.Module, args: tuple[Any, ...], batch: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._starts = batch.pop(ROW_STARTS, None)
        if self._is_causal and "position_ids" in batch:
            batch["use_cache"] = False  # with a cache transformers takes positions as they come
        mask = batch.get("attention_mask")
        if self._eager and mask is not None and mask.ndim == 4:
            dtype = next(self._model.parameters()).dtype
            unseen = torch.finfo(dtype).min
            batch["attention_mask"] = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, unseen)
        return args, batch

    def _after_layers(self, _: torch.nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        """(packs, tokens, hidden) -> (rows, 1, hidden): heads read a row's first token."""
        if self._starts is None:
            return output
        hidden = output[0]
        firsts = hidden.reshape(-1, hidden.shape[-1])[self._starts].unsqueeze(1)
        if isinstance(output, tuple):
            return (firsts, *output[1:])
        output["last_hidden_state"] = firsts
        return output
