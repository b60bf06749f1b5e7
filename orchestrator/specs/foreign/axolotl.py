"""axolotl's YAML, by the keys of its config reference (docs.axolotl.ai/docs/config-reference)."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    is_hub,
    target_modules,
)

AXOLOTL = "axolotl"
DOMAIN = "imported"

_REASONS = {
    **REASONS,
    **dict.fromkeys(
        ("wandb_project", "wandb_entity", "wandb_watch", "wandb_name", "wandb_log_model",
         "wandb_run_id", "mlflow_tracking_uri", "mlflow_experiment_name", "use_tensorboard",
         "logging_steps", "use_comet", "comet_project_name"),
        FOLLOWED,
    ),
    **dict.fromkeys(("xformers_attention", "eager_attention", "sdp_attention"), BY_WORKER),
    **dict.fromkeys(
        ("dataset_prepared_path", "dataset_processes", "pad_to_sequence_len", "strict",
         "model_type", "tokenizer_type", "gradient_checkpointing_kwargs", "save_safetensors",
         "output_dir", "local_rank", "debug", "lora_on_cpu", "low_cpu_mem_usage"),
        OWN_WAY,
    ),
    "load_in_8bit": "weights are held whole, or in 4 bits by qlora",
    "lora_fan_in_fan_out": "it follows from the base",
    "special_tokens": "the tokenizer is used as the base has it",
    "tokens": "the tokenizer is used as the base has it",
    "chat_template": OWN_TEMPLATE,
    "lora_model_dir": "to go on from an adapter publish it here, and write models://name as base",
    "fsdp": "weights are sharded by ZeRO, not by FSDP: engine.zero_stage 3 is its like",
    "fsdp_config": "see fsdp",
    "plugins": "no code of others is run",
    "eval_table_size": FOLLOWED,
    "loss_watchdog_threshold": "a loss that is no number ends the job by itself",
    "loss_watchdog_patience": "a loss that is no number ends the job by itself",
}  # fmt: skip


def is_axolotl(document: Mapping[str, Any]) -> bool:
    return "base_model" in document and "model_name_or_path" not in document


def from_axolotl(document: Mapping[str, Any]) -> Translated:
    """The spec of the file.

    Raises:
        UserError: It learns by preference or reward, which no spec says.
    """
    found = Translated()
    keys = Keys(document, found)
    if (kind := keys.take("rl")) is not None:
        raise UserError(
            f"rl: {kind}: learning by preferences or rewards has no spec",
            hint="import the file of the supervised stage",
        )
    found.put("model.base", base_of(str(keys.take("base_model"))))
    if (revision := keys.take("revision_of_model")) is not None:
        found.put("model.revision", revision)
    _data(keys)
    _method(keys)
    _training(keys)
    keys.leave_if_set(_REASONS)
    keys.finish()
    fill_in_test(found, DOMAIN)
    return found


def _data(keys: Keys) -> None:
    task: dict[str, Any] | None = None
    splits: dict[str, list[dict[str, Any]]] = {}
    named = [("train", "datasets", keys.take("datasets", "pretraining_dataset"))]
    named.append(("test", "test_datasets", keys.take("test_datasets")))
    for split, key, entries in named:
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            if not isinstance(entry, Mapping):
                keys.leave(f"{key}[{number}]", entry, "it is no data set with a path")
                continue
            given = Keys(entry, Translated())
            rows, columns = _rows(given, keys, f"{key}[{number}]")
            if task is not None and rows != task["rows"]:
                reason = f"a job has rows of one kind, and the first data set's are {task['rows']}"
                keys.leave(f"{key}[{number}]", entry.get("path"), reason)
                continue
            task = {"type": "causal-lm", "rows": rows}
            splits.setdefault(split, []).append({**_source(given), "columns": columns})
            given.finish()
            for left in given.found.left_out:
                keys.leave(f"{key}[{number}].{left.key}", left.value, left.reason)
    keys.found.put("task", task or {"type": "causal-lm", "rows": "text"})
    splits.setdefault("train", [{"path": f"{FILL_IN}/train.jsonl"}])
    keys.found.put(f"data.domains.{DOMAIN}", splits)
    share = keys.take("val_set_size")
    if isinstance(share, float | int) and 0 < share < 1:
        keys.found.put("data.valid_fraction", share)
    elif share:
        keys.leave("val_set_size", share, "validation rows are a share: data.valid_fraction")
    elif share is not None:
        keys.found.put(
            "selection.last",
            True,
            "val_set_size: 0: nothing decides. data.valid_fraction of the rows is still set aside.",
        )


def _rows(given: Keys, keys: Keys, place: str) -> tuple[str, dict[str, str]]:
    """Kind of the rows and their columns, by the type of a data set."""
    kind = given.take("type")
    if isinstance(kind, Mapping):
        columns = {
            "prompt": kind.get("field_instruction", "instruction"),
            "completion": kind.get("field_output", "output"),
        }
        for name in ("field_input", "field_system", "format", "no_input_format", "system_prompt"):
            if kind.get(name):
                reason = "a prompt is one column: join its parts in the data or in data.transform"
                keys.leave(f"{place}.type.{name}", kind[name], reason)
        return "completion", columns
    name = str(kind or "completion").split(".")[0].split(":")[0]
    if name in ("completion", "pretrain"):
        return "text", {"text": str(given.take("field", "text_column") or "text")}
    if name in ("chat_template", "sharegpt"):
        if name == "sharegpt":
            reason = "messages have the keys role and content, not from and value: rename them"
            keys.leave(f"{place}.type", kind, reason)
        column = given.take("field_messages") or ("messages" if name[0] == "c" else "conversations")
        return "chat", {"messages": str(column)}
    reason = "a prompt is one column: join instruction and input in the data or in data.transform"
    keys.leave(f"{place}.type", kind, reason)
    return "completion", {"prompt": "instruction", "completion": "output"}


def _source(given: Keys) -> dict[str, Any]:
    path, files = str(given.take("path") or f"{FILL_IN}/train.jsonl"), given.take("data_files")
    given.take("ds_type")
    is_local = path.startswith((".", "/", "~", "s3://", "gs://")) or re.search(r"\.\w{3,7}$", path)
    if is_local or not is_hub(path):
        return {"path": path}
    if isinstance(files, str):
        given.leave("data_files", files, "a hub data set is read by its split")
    source = {"hub": path, "split": str(given.take("split") or "train")}
    for key, name in (("name", "config"), ("revision", "revision")):
        if (value := given.take(key)) is not None:
            source[name] = str(value)
    return source


def _method(keys: Keys) -> None:
    found, adapter = keys.found, keys.take("adapter")
    four_bits = keys.take("load_in_4bit")
    if adapter not in ("lora", "qlora"):
        if adapter is not None:
            keys.leave("adapter", adapter, "adapters are lora and qlora; every weight learns now")
        found.put("method.type", "full")
        for name in ("lora_r", "lora_alpha", "lora_dropout", "lora_target_linear"):
            keys.take(name)
        return
    found.put("method.type", "qlora" if adapter == "qlora" or four_bits else "lora")
    for name, field in (("lora_r", "rank"), ("lora_alpha", "alpha"), ("lora_dropout", "dropout")):
        keys.number(name, f"method.{field}")
    for name, field in (("peft_use_dora", "use_dora"), ("peft_use_rslora", "use_rslora")):
        if keys.take(name):
            found.put(f"method.{field}", True)
    everything, modules = keys.take("lora_target_linear"), keys.take("lora_target_modules")
    if modules and not everything:
        names = target_modules(keys, "lora_target_modules", modules)
        if names:
            found.put("method.target_modules", names)
    if saved := keys.take("lora_modules_to_save"):
        found.put("method.modules_to_save", list(saved))


def _training(keys: Keys) -> None:
    found = keys.found
    for name, path in (
        *(("num_epochs", "training.epochs"), ("max_steps", "training.max_steps")),
        *(("learning_rate", "training.learning_rate"), ("seed", "training.seed")),
        *(("sequence_len", "training.max_length"), ("weight_decay", "training.weight_decay")),
        *(("warmup_steps", "training.warmup_steps"), ("warmup_ratio", "training.warmup_ratio")),
        *(("max_grad_norm", "training.max_grad_norm"), ("adam_beta1", "training.adam_beta1")),
        *(("adam_beta2", "training.adam_beta2"), ("adam_epsilon", "training.adam_epsilon")),
        *(("eval_steps", "selection.every_steps"), ("save_steps", "checkpoint.every_steps")),
        ("save_total_limit", "checkpoint.keep"),
        ("early_stopping_patience", "training.early_stopping.patience"),
    ):
        keys.number(name, path)
    if "max_steps" in found.body.get("training", {}):
        found.body["training"].pop("epochs", None)
    if "warmup_steps" in found.body.get("training", {}):
        found.body["training"].pop("warmup_ratio", None)
    carry_optimizer(keys, "lr_scheduler", "optimizer")
    carry_precision(keys, ("bf16", "bfloat16"))
    carry_batch(keys, "micro_batch_size", "gradient_accumulation_steps", workers=1)
    carry_deepspeed(keys)
    for name, field in (("sample_packing", "packing"), ("group_by_length", "group_by_length")):
        if keys.take(name):
            found.put(f"training.batching.{field}", True)
    checkpointing = keys.take("gradient_checkpointing")
    if checkpointing is not None:
        found.put("engine.gradient_checkpointing", bool(checkpointing))
    if keys.take("flash_attention"):
        found.put("engine.attention", "flash_attention_2")
    on_inputs = keys.take("train_on_inputs")
    if on_inputs:
        keys.leave("train_on_inputs", on_inputs, "prompts are read; completions alone are learned")
    for name in ("evals_per_epoch", "saves_per_epoch", "eval_strategy", "save_strategy"):
        if (value := keys.take(name)) is not None:
            keys.leave(name, value, "valid is read after each epoch, or each selection.every_steps")
