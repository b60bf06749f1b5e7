"""Adapters on their way out and back in: PEFT's own files, so that plain PEFT loads them.

Written by the trainer (`write_adapter`), completed and merged before publishing, read again for the
final evaluation, for `predict`, and to be trained further.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import ModulesToSaveWrapper, load_peft_weights
from safetensors.torch import save_file
from transformers import PreTrainedModel

from orchestrator.inspect.adapters import ADAPTER_CONFIG_FILE, ADAPTER_FILE, is_adapter
from orchestrator.specs import MethodSpec, QloraMethod
from orchestrator.storage.adapters import Origin
from orchestrator.worker.models.export import write_weights
from orchestrator.worker.models.quantized import quantize
from orchestrator.worker.models.start import Start
from orchestrator.worker.tasks.base import Task

ADAPTER = "default"  # PEFT's name of the one adapter a model has here


def write_adapter(
    model: PeftModel, state_dict: dict[str, torch.Tensor] | None, folder: Path, origin: Origin
) -> None:
    """`adapter_model.safetensors` and `adapter_config.json` in `folder`; nothing of the machine.

    Args:
        model: The model with its adapter.
        state_dict: Gathered weights where the model itself holds only shards of them.
        folder: Created if absent.
        origin: The base the adapter belongs to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(model, state_dict, ADAPTER, save_embedding_layers=False)
    tensors = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
    save_file(tensors, folder / ADAPTER_FILE, metadata={"format": "pt"})
    config = {
        **_plain(model.peft_config[ADAPTER].to_dict()),
        "base_model_name_or_path": origin.loadable,
        "revision": origin.revision,
        "inference_mode": True,
        "modules_to_save": _learned_whole(model),
        # PEFT reads the classes of it, and those only where it knows no task: the digest is ours.
        "auto_mapping": {
            "base_model_class": type(model.get_base_model()).__name__,
            "parent_library": type(model.get_base_model()).__module__,
            "base_model_digest": origin.digest,
        },
    }
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG_FILE).write_text(text)


def load_trained(task: Task, folder: Path, start: Start, method: MethodSpec) -> torch.nn.Module:
    """What is published, as plain transformers (and PEFT) load it.

    Beside a base that was held in 4 bits because it fits no other way, it is loaded so again.
    """
    if not is_adapter(folder):
        return task.build_model(folder, dtype="auto")
    base = task.build_model(start.base, dtype="auto")
    if isinstance(method, QloraMethod):
        quantize(method, base)
    model: torch.nn.Module = PeftModel.from_pretrained(base, folder, torch_device="cpu")
    return model


def merged(model: PreTrainedModel, adapter: Path, *, any_head: bool = False) -> PreTrainedModel:
    """The model with an adapter's updates added to its weights.

    Args:
        model: The adapter's base; it is changed.
        adapter: Folder of the adapter.
        any_head: Whether the model keeps its own head where the adapter's has other labels.
    """
    beside = PeftModel.from_pretrained(
        model, adapter, torch_device="cpu", ignore_mismatched_sizes=any_head
    )
    whole: PreTrainedModel = beside.merge_and_unload()
    return whole


def merge_in_place(task: Task, folder: Path, start: Start) -> None:
    """Turns a folder with an adapter into one with whole weights, as precise as the adapter's."""
    with torch.no_grad():
        whole = merged(task.build_model(start.base), folder)
    torch.nn.Module.to(whole, _stored_dtype(folder))
    for name in (ADAPTER_FILE, ADAPTER_CONFIG_FILE):
        (folder / name).unlink()
    write_weights(whole, None, folder)


def continue_adapter(model: PeftModel, folder: Path) -> None:
    """Loads an adapter's weights into a model that has one of the same kind.

    A head of another number of labels stays as it is: new.
    """
    weights = load_peft_weights(str(folder), device="cpu")
    set_peft_model_state_dict(model, weights, ADAPTER, ignore_mismatched_sizes=True)


def _learned_whole(model: PeftModel) -> list[str]:
    """The modules that the adapter holds whole; PEFT's own list also names what might be one."""
    named = model.get_base_model().named_modules()
    return sorted(path for path, module in named if isinstance(module, ModulesToSaveWrapper))


def _stored_dtype(folder: Path) -> torch.dtype:
    weights: dict[str, torch.Tensor] = load_peft_weights(str(folder), device="cpu")
    return next(iter(weights.values())).dtype


def _plain(value: Any) -> Any:
    """A config's values as JSON has them; sets in the order of their names."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value
