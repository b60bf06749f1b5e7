"""Writing a model folder that plain `from_pretrained` loads and that holds nothing of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS_FILE = "model.safetensors"


def write_weights(
    model: PreTrainedModel, state_dict: dict[str, torch.Tensor] | None, folder: Path
) -> None:
    """`model.safetensors` (or its shards) and `config.json` in `folder`.

    Args:
        model: The model, for its config and its names of tied weights.
        state_dict: Gathered weights where the model itself holds only shards of them.
        folder: Created if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with as_it_came(model):
        model.save_pretrained(folder, state_dict=state_dict)


def without_cache(model: Any) -> None:
    """Turns off the keys and values that a model keeps for writing: while it learns, a waste."""
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False
        setattr(model, _HAD_CACHE, True)


_HAD_CACHE = "_orchestrator_had_cache"


@contextmanager
def as_it_came(model: PreTrainedModel) -> Iterator[None]:
    """What `without_cache` turned off is on in what is published."""
    if not getattr(model, _HAD_CACHE, False):
        yield
        return
    model.config.use_cache = True
    try:
        yield
    finally:
        model.config.use_cache = False


def task_folder(folder: Path, task: str) -> Path:
    """Where one of several tasks is: below the model's folder, if it has a head of its own."""
    own = folder / task
    return own if own.is_dir() else folder


def complete_folder(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Adds what `from_pretrained` needs beside the weights."""
    tokenizer.save_pretrained(folder)


def gathered_state_dict(
    engine: Any, zero_stage: int | None, *, only_learning: bool = False
) -> dict[str, torch.Tensor] | None:
    """Whole weights of a DeepSpeed engine on rank 0; a collective under ZeRO-3.

    Args:
        engine: Of this rank.
        zero_stage: None where there is no engine.
        only_learning: Leaves out what is frozen: a base beside an adapter.

    Returns:
        None where the module itself holds whole weights (no engine, or ZeRO below 3).
    """
    if zero_stage != 3:
        return None
    gathered: dict[str, torch.Tensor] | None = engine._zero3_consolidated_16bit_state_dict(
        exclude_frozen_parameters=only_learning
    )
    return gathered
