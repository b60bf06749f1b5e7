"""`TrainingArguments` of a resolved spec: one place where our names become the Trainer's."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import TrainingArguments

from orchestrator.specs import FineTuneSpec
from orchestrator.worker.training.deepspeed import deepspeed_config

SCHEDULERS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def total_steps(spec: FineTuneSpec, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole training."""
    training = spec.training
    if training.max_steps is not None:
        return training.max_steps
    assert training.epochs is not None, "the plan resolves epochs or max_steps"
    return math.ceil(training.epochs * steps_per_epoch)


def warmup_steps(spec: FineTuneSpec, num_steps: int) -> int:
    training = spec.training
    if training.warmup_steps is not None:
        return training.warmup_steps
    assert training.warmup_ratio is not None, "the plan resolves the warm-up"
    return math.ceil(training.warmup_ratio * num_steps)


def optimizer_name() -> str:
    """The Trainer's word for AdamW: in one kernel on GPUs, the same numbers to rounding."""
    return "adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch"


def training_arguments(spec: FineTuneSpec, num_steps: int, scratch: Path) -> TrainingArguments:
    """Saving, evaluating and logging are this project's: the Trainer's own are off."""
    training, engine, on_gpu = spec.training, spec.engine, torch.cuda.is_available()
    workers = spec.resources.workers
    assert engine.micro_batch_size is not None
    deepspeed = None
    if engine.strategy == "deepspeed":
        deepspeed = deepspeed_config(engine, training, workers, on_gpu)
    return TrainingArguments(
        output_dir=str(scratch / "trainer"),
        per_device_train_batch_size=engine.micro_batch_size,
        gradient_accumulation_steps=training.global_batch_size
        // (engine.micro_batch_size * workers),
        max_steps=num_steps,
        learning_rate=training.learning_rate,
        lr_scheduler_type=SCHEDULERS[training.schedule],
        warmup_steps=warmup_steps(spec, num_steps),
        optim=optimizer_name(),
        weight_decay=training.weight_decay,
        adam_beta1=training.adam_beta1,
        adam_beta2=training.adam_beta2,
        adam_epsilon=training.adam_epsilon,
        max_grad_norm=training.max_grad_norm,
        seed=training.seed,
        use_cpu=not on_gpu,
        tf32=training.precision == "tf32" if on_gpu else None,
        bf16=training.precision == "bf16",
        fp16=training.precision == "fp16",
        activation_checkpointing=bool(engine.gradient_checkpointing),
        deepspeed=deepspeed,
        ddp_backend="nccl" if on_gpu else "gloo",
        ddp_find_unused_parameters=False,
        logging_steps=10 if on_gpu else 1,  # each log gathers the loss and waits for the GPU
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=on_gpu,
        log_level="error",
    )
