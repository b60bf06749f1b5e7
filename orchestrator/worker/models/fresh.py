"""Random weights for a base that has none: after that it is a base like any other.

Called once a node by `folders`. Weights follow from the config and the seed alone.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

_KINDS: dict[str, Any] = {
    "bart": AutoModelForSeq2SeqLM,
    "bert": AutoModelForMaskedLM,
    "llama": AutoModelForCausalLM,
    "marian": AutoModelForSeq2SeqLM,
    "t5": AutoModelForSeq2SeqLM,
}
"""By architecture: transformers' class with the head that is pretrained."""


def with_weights(folder: Path, seed: int, into: Path) -> Path:
    """`into`: the files of `folder` and weights beside them.

    Args:
        folder: Config and tokenizer.
        seed: Of the weights.
        into: Complete where it exists.
    """
    if into.is_dir():
        return into
    part = into.with_name(f".{into.name}.{uuid.uuid4().hex[:8]}")
    shutil.copytree(folder, part)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = _KINDS[config.model_type].from_config(config)
    model.save_pretrained(part)
    part.rename(into)
    return into
