"""LLaMA-Factory's YAML of `llamafactory-cli train`, by its arguments (llamafactory/hparams)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UserError
from orchestrator.specs.foreign.translation import (
    BY_WORKER,
    FILL_IN,
    FOLLOWED,
    OWN_TEMPLATE,
    OWN_WAY,
    REASONS,
    Keys,
    Translated,
    base_of,
    carry_batch,
    carry_deepspeed,
    carry_optimizer,
    carry_precision,
    fill_in_test,
    target_modules,
)

LLAMA_FACTORY = "LLaMA-Factory"
DOMAIN = "imported"
_MAX_BYTES = 5_000_000  # of the list of data sets

_PUSHED = REASONS["hub_model_id"]
_REASONS = {
    **REASONS,
    **dict.fromkeys(
        ("logging_steps", "plot_loss", "report_to", "run_name", "logging_dir"), FOLLOWED
    ),
    **dict.fromkeys(
        ("do_train", "do_eval", "overwrite_output_dir", "output_dir", "overwrite_cache",
         "preprocessing_num_workers", "dataloader_num_workers", "ddp_timeout", "save_only_model",
         "tokenized_path", "cache_dir", "per_device_eval_batch_size", "eval_strategy",
         "save_strategy", "ray_run_name", "ray_storage_path", "placement_strategy",
         "use_fast_tokenizer", "resources_per_worker", "ray_init_kwargs"),
        OWN_WAY,
    ),
    "template": OWN_TEMPLATE,
    "max_samples": "rows are not thinned by number: `weight` of a source draws a share",
    "adapter_name_or_path": "publish the adapter here, and write models://name as base",
    "flash_attn": BY_WORKER,
    "use_unsloth": "kernels of others are not used",
    "enable_liger_kernel": "kernels of others are not used",
    "train_on_prompt": "prompts are read; completions alone are learned",
    "mask_history": "all that the assistant says is learned",
    "streaming": "rows are read whole",
    "mix_strategy": "data.mixing says how domains are mixed",
    "interleave_probs": "data.mixing says how domains are mixed",
    "quantization_method": "4-bit weights are bitsandbytes'",
    "loraplus_lr_ratio": "both matrices learn at one rate",
    "push_to_hub": _PUSHED,
    "predict_with_generate": "generation is measured for translation and summarization",
}  # fmt: skip


def is_llamafactory(document: Mapping[str, Any]) -> bool:
    return "model_name_or_path" in document and bool(
        {"stage", "finetuning_type", "dataset", "template"} & set(document)
    )


def from_llamafactory(document: Mapping[str, Any], folder: Path) -> Translated:
    """The spec of the file.

    Args:
        document: The parsed file.
        folder: Where it lies, from which `dataset_dir` is looked up.

    Raises:
        UserError: Its stage learns by preference or reward, which no spec says.
    """
    found = Translated()
    keys = Keys(document, found)
    stage = str(keys.take("stage") or "sft")
    if stage not in ("sft", "pt"):
        raise UserError(
            f"stage: {stage}: learning by preferences or rewards has no spec",
            hint="import the file of the supervised stage (sft) or of pretraining (pt)",
        )
    found.put("model.base", base_of(str(keys.take("model_name_or_path"))))
    if (revision := keys.take("model_revision")) is not None:
        found.put("model.revision", str(revision))
    _data(keys, stage, folder)
    _method(keys)
    _training(keys)
    keys.leave_if_set(_REASONS)
    keys.finish()
    fill_in_test(found, DOMAIN)
    return found


def _data(keys: Keys, stage: str, folder: Path) -> None:
    place = str(keys.take("dataset_dir") or "data")
    listed = _listed(folder / place)
    rows: str | None = "text" if stage == "pt" else None
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, key in (("train", "dataset"), ("valid", "eval_dataset")):
        value = keys.take(key)
        names = value if isinstance(value, list) else str(value or "").split(",")
        for name in (str(name).strip() for name in names if str(name).strip()):
            kind, source = _source(keys, name, listed.get(name), stage)
            if "path" in source and FILL_IN not in source["path"]:
                source = {**source, "path": f"{place}/{source['path']}"}
            rows = rows or kind
            if kind != rows:
                reason = f"a job has rows of one kind, and the first data set's are {rows}"
                keys.leave(f"{key}: {name}", name, reason)
                continue
            splits.setdefault(split, []).append(source)
    splits.setdefault("train", [{"path": f"{FILL_IN}/train.jsonl"}])
    keys.found.put("task", {"type": "causal-lm", "rows": rows or "chat"})
    keys.found.put(f"data.domains.{DOMAIN}", splits)
    share = keys.take("val_size")
    if isinstance(share, float | int) and 0 < share < 1:
        keys.found.put("data.valid_fraction", share)
    elif share:
        keys.leave("val_size", share, "validation rows are a share: data.valid_fraction")


def _listed(folder: Path) -> dict[str, Any]:
    """dataset_info.json, where it lies as the file says; nothing else is opened."""
    place = folder / "dataset_info.json"
    try:
        if place.stat().st_size > _MAX_BYTES:
            return {}
        content = json.loads(place.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _source(keys: Keys, name: str, entry: Any, stage: str) -> tuple[str, dict[str, Any]]:
    """Kind of a data set's rows and where they come from."""
    if not isinstance(entry, Mapping):
        reason = "dataset_info.json with this name is not to be found: fill in where it lies"
        keys.leave(f"dataset: {name}", name, reason)
        kind = "text" if stage == "pt" else "completion"
        return kind, {"path": f"{FILL_IN}/{name}.jsonl"}
    columns = entry.get("columns") or {}
    if stage == "pt":
        kind, wanted = "text", {"text": columns.get("prompt", "text")}
    elif entry.get("formatting") == "sharegpt":
        kind, wanted = "chat", {"messages": columns.get("messages", "conversations")}
        tags = entry.get("tags") or {}
        if (tags.get("role_tag", "from"), tags.get("content_tag", "value")) != ("role", "content"):
            reason = "messages have the keys role and content, not from and value: rename them"
            keys.leave(f"dataset: {name}", "sharegpt", reason)
    else:
        kind = "completion"
        wanted = {
            "prompt": columns.get("prompt", "instruction"),
            "completion": columns.get("response", "output"),
        }
        reason = "a prompt is one column: join instruction and input in the data or data.transform"
        keys.leave(f"dataset: {name}", columns.get("query", "input"), reason)
    if hub := entry.get("hf_hub_url"):
        source = {"hub": str(hub), "split": str(entry.get("split", "train"))}
        if subset := entry.get("subset"):
            source["config"] = str(subset)
    else:
        source = {"path": str(entry.get("file_name", f"{FILL_IN}/{name}.jsonl"))}
    return kind, {**source, "columns": wanted}


def _method(keys: Keys) -> None:
    found, kind = keys.found, str(keys.take("finetuning_type") or "lora")
    bits = keys.take("quantization_bit")
    if kind == "freeze":
        layers = keys.take("freeze_trainable_layers")
        found.put("method.type", "full")
        reason = "it counts layers that learn from above: write freeze with num_layers, from below"
        keys.leave("freeze_trainable_layers", 2 if layers is None else layers, reason)
    elif kind == "lora":
        found.put("method.type", "qlora" if bits == 4 else "lora")
        if bits not in (None, 4):
            keys.leave("quantization_bit", bits, "weights are held whole, or in 4 bits by qlora")
        for name, field in (
            *(("lora_rank", "rank"), ("lora_alpha", "alpha")),
            ("lora_dropout", "dropout"),
        ):
            keys.number(name, f"method.{field}")
        for name in ("use_dora", "use_rslora"):
            if keys.take(name):
                found.put(f"method.{name}", True)
        modules = keys.take("lora_target")
        if modules and modules != "all":
            names = target_modules(keys, "lora_target", modules)
            if names:
                found.put("method.target_modules", names)
        if saved := keys.take("additional_target"):
            found.put("method.modules_to_save", [name.strip() for name in str(saved).split(",")])
    else:
        found.put("method.type", "full")
        if kind != "full":
            keys.leave("finetuning_type", kind, "methods are full, freeze, lora and qlora")


def _training(keys: Keys) -> None:
    found = keys.found
    for name, path in (
        *(("num_train_epochs", "training.epochs"), ("max_steps", "training.max_steps")),
        *(("learning_rate", "training.learning_rate"), ("seed", "training.seed")),
        *(("cutoff_len", "training.max_length"), ("weight_decay", "training.weight_decay")),
        *(("warmup_steps", "training.warmup_steps"), ("warmup_ratio", "training.warmup_ratio")),
        *(("max_grad_norm", "training.max_grad_norm"), ("adam_beta1", "training.adam_beta1")),
        *(("adam_beta2", "training.adam_beta2"), ("adam_epsilon", "training.adam_epsilon")),
        *(("eval_steps", "selection.every_steps"), ("save_steps", "checkpoint.every_steps")),
        ("save_total_limit", "checkpoint.keep"),
    ):
        keys.number(name, path)
    training = found.body.get("training", {})
    if training.get("max_steps", -1) > 0:
        training.pop("epochs", None)
    else:
        training.pop("max_steps", None)  # -1 is their way of saying none
    if "warmup_steps" in training:
        training.pop("warmup_ratio", None)
    carry_optimizer(keys, "lr_scheduler_type", "optim")
    carry_precision(keys, ("bf16", "pure_bf16"))
    workers = int(keys.take("ray_num_workers") or 1)
    carry_batch(keys, "per_device_train_batch_size", "gradient_accumulation_steps", workers)
    carry_deepspeed(keys)
    if [value for value in (keys.take("packing"), keys.take("neat_packing")) if value]:
        found.put("training.batching.packing", True)
    if keys.take("group_by_length"):
        found.put("training.batching.group_by_length", True)
    if keys.take("disable_gradient_checkpointing"):
        found.put("engine.gradient_checkpointing", False)
