"""Models with a head over the vocabulary, read from a folder as `loading` reads classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

Dtype = torch.dtype | Literal["auto"]


def causal_model(folder: Path, dtype: Dtype = torch.float32) -> PreTrainedModel:
    return _read(AutoModelForCausalLM, folder, dtype)


def seq2seq_model(folder: Path, dtype: Dtype = torch.float32) -> PreTrainedModel:
    return _read(AutoModelForSeq2SeqLM, folder, dtype)


def _read(kind: Any, folder: Path, dtype: Dtype) -> PreTrainedModel:
    model: PreTrainedModel = kind.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    return model
