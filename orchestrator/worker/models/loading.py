"""Reading a base model's folder: safetensors only, nothing remote, no code from the folder."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, set_seed

from orchestrator.worker.tasks.base import ReadiesTokenizer, Task


def load_tokenizer(base: Path, task: object = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, ready for a task."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        base, local_files_only=True, trust_remote_code=False
    )
    if tokenizer.pad_token is None:  # causal models come without one; padding never counts
        tokenizer.pad_token = tokenizer.eos_token
    if isinstance(task, ReadiesTokenizer):
        task.ready(tokenizer)
    return tokenizer


def load_model(
    task: Task, base: Path, tokenizer: PreTrainedTokenizerBase, seed: int
) -> PreTrainedModel:
    """The model of the task on `base`; new weights (the head) follow from `seed` alone."""
    set_seed(seed)
    model = task.build_model(base)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model


def on_device(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The model in evaluation mode on the device."""
    torch.nn.Module.to(model, device)
    torch.nn.Module.train(model, False)
    return model
