"""How a model computes attention: the fastest way that is installed and fits its numbers.

Called once a base is loaded; what was chosen is in the lineage of the published model.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from orchestrator.errors import InvalidInput, Problem
from orchestrator.specs import FineTuneSpec

FLASH, SDPA, EAGER = "flash_attention_2", "sdpa", "eager"
_HALF = ("bf16", "fp16")  # flash attention has kernels for these alone


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What decides it beside the model and the spec."""

    on_gpu: bool
    has_flash: bool

    @classmethod
    def here(cls) -> Surroundings:
        found = importlib.util.find_spec("flash_attn") is not None
        return cls(torch.cuda.is_available(), found)


def choose_attention(spec: FineTuneSpec, model: PreTrainedModel, around: Surroundings) -> str:
    """Sets and returns the model's attention.

    Raises:
        InvalidInput: The spec asks for one that is not to be had here.
    """
    own = str(model.config._attn_implementation)  # transformers': sdpa where the model may use it
    wanted = spec.engine.attention
    able = _able(spec, model, around)
    if wanted is not None and wanted not in able:
        raise InvalidInput(
            [
                Problem(
                    f"{wanted} is not to be had here for a model of type "
                    f"'{model.config.model_type}' in {spec.training.precision}",
                    path="engine.attention",
                    hint=f"write {able[0]}, or remove it",
                )
            ]
        )
    chosen = wanted or (FLASH if FLASH in able else own)
    if own != chosen:
        model.set_attn_implementation(chosen)
    return chosen


def _able(spec: FineTuneSpec, model: PreTrainedModel, around: Surroundings) -> list[str]:
    """What goes, the fastest first."""
    flash = (
        around.on_gpu
        and around.has_flash
        and spec.training.precision in _HALF
        and bool(getattr(model, "_supports_flash_attn", False))
        and not _packs_by_mask(spec)
    )
    sdpa = bool(getattr(model, "_supports_sdpa", False))
    return [*([FLASH] if flash else []), *([SDPA] if sdpa else []), EAGER]


def _packs_by_mask(spec: FineTuneSpec) -> bool:
    """Encoders tell packed rows apart by a mask, which flash attention does not take."""
    return spec.training.packs and spec.task.type == "text-classification"
