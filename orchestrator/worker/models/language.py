"""Models with a head over the vocabulary, read from a folder as `loading` reads classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from orchestrator.inspect.safetensors import read_weights

Dtype = torch.dtype | Literal["auto"]


def causal_model(folder: Path, dtype: Dtype = torch.float32) -> PreTrainedModel:
    return _read(AutoModelForCausalLM, folder, dtype)


def seq2seq_model(folder: Path, dtype: Dtype = torch.float32) -> PreTrainedModel:
    return _read(AutoModelForSeq2SeqLM, folder, dtype)


def masked_model(folder: Path, dtype: Dtype = torch.float32) -> PreTrainedModel:
    """With the pooler of the base, where its files have one.

    Finding hidden tokens needs none, so that transformers leaves it away; the classifier that
    starts from this model would get a new one.
    """
    model = _read(AutoModelForMaskedLM, folder, dtype)
    inner = model.base_model
    stored = any(".pooler." in f".{tensor.name}" for tensor in read_weights(folder).tensors)
    if stored and getattr(inner, "pooler", inner) is None:
        inner.pooler = _read(AutoModel, folder, dtype).pooler
        inner.pooler.requires_grad_(False)
    return model


def _read(kind: Any, folder: Path, dtype: Dtype) -> PreTrainedModel:
    model: PreTrainedModel = kind.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    return model
