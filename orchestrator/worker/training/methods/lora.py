"""Adapters (LoRA, DoRA, rsLoRA; over 4-bit weights QLoRA): small matrices learn beside the base.

Which modules get one is the plan's choice, by the names of the base's own tensors. What is new for
the task, its head, learns whole: an adapter that lacked it would be no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.pytorch_utils import Conv1D

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.adapters import names
from orchestrator.inspect.safetensors import read_weights
from orchestrator.specs import AdapterMethod, QloraMethod
from orchestrator.worker.models.adapters import continue_adapter
from orchestrator.worker.models.quantized import quantize
from orchestrator.worker.models.start import Start

_TASKS = {
    TaskType.SEQ_CLS: modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    TaskType.CAUSAL_LM: modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    TaskType.SEQ_2_SEQ_LM: modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
}
"""PEFT's word for what a model does, by the classes transformers has for it."""


def apply(method: AdapterMethod, model: PreTrainedModel, start: Start, seed: int) -> PeftModel:
    """Puts an adapter beside a freshly loaded base; its new weights follow from `seed` alone.

    Raises InvalidInput where the base has no such modules.
    """
    assert method.rank is not None, "the plan resolves the method"
    assert method.alpha is not None
    assert method.target_modules is not None
    whole = [*learning_whole(model, start.base), *method.modules_to_save]
    targets = list(_targets(model, method.target_modules, whole))
    if isinstance(method, QloraMethod):
        quantize(method, model)
    config = LoraConfig(
        task_type=_task_type(model),
        r=method.rank,
        lora_alpha=method.alpha,  # type: ignore[arg-type]  # PEFT divides by the rank alone
        lora_dropout=method.dropout,
        target_modules=list(method.target_modules),
        exclude_modules=_within(whole, method.target_modules, model) or None,
        modules_to_save=whole or None,
        use_dora=bool(method.use_dora),
        use_rslora=bool(method.use_rslora),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in targets),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    if start.adapter is not None:
        continue_adapter(adapted, start.adapter)
    return adapted


def learning_whole(model: PreTrainedModel, base: Path) -> list[str]:
    """Modules on top of the base, and those that its files do not hold: they are new.

    Not an output layer of the base's own pretraining, which a language model goes on with.
    """
    stored = {_bare(tensor.name, model) for tensor in read_weights(base).tensors}
    new = {
        module
        for name, _ in model.named_parameters()
        if not _is_stored(module := name.rpartition(".")[0], stored, model)
    }
    if model.base_model is not model:
        own_output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        new |= {
            name
            for path, on_top in model.named_children()
            if on_top is not model.base_model
            and all(module is not own_output for module in on_top.modules())
            for name in _with_parameters(on_top, path)
        }
    return list(_topmost(model, new))


def _task_type(model: PreTrainedModel) -> TaskType | None:
    name = type(model).__name__
    return next((task for task, kinds in _TASKS.items() if name in _names(kinds.values())), None)


def _names(values: object) -> set[str]:
    found: set[str] = set()
    for value in values:  # type: ignore[attr-defined]
        found.update(value if isinstance(value, (list, tuple)) else (value,))
    return found


def _targets(
    model: PreTrainedModel, targets: tuple[str, ...], whole: list[str]
) -> Iterator[torch.nn.Module]:
    """The linear modules beside which updates learn; raises InvalidInput where there are none."""
    found = False
    for path, module in model.named_modules():
        if any(names(target, path) for target in targets) and not _is_in(path, whole):
            if not isinstance(module, (torch.nn.Linear, Conv1D)):
                raise _no_module(f"'{path}' is a {type(module).__name__}, not linear")
            found = True
            yield module
    if not found:
        raise _no_module(f"the base has no modules named {', '.join(targets)}")


def _within(whole: list[str], targets: tuple[str, ...], model: PreTrainedModel) -> list[str]:
    """Targets inside of what learns whole: they need no update."""
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
        and _is_in(path, whole)
        and any(names(target, path) for target in targets)
    ]


def _is_in(path: str, modules: list[str]) -> bool:
    return any(f".{module}." in f".{path}." for module in modules)


def _no_module(message: str) -> InvalidInput:
    hint = "`orchestrator plan` chooses them where the field is absent"
    return InvalidInput([Problem(message, path="method.target_modules", hint=hint)])


def _bare(name: str, model: PreTrainedModel) -> str:
    """Without the base's prefix, which some files have and others lack."""
    return name.removeprefix(f"{model.base_model_prefix}.")


def _is_stored(module: str, stored: set[str], model: PreTrainedModel) -> bool:
    """Whether the files hold anything of a module: what it is called inside may be older."""
    prefix = f"{_bare(module, model)}."
    return any(name.startswith(prefix) for name in stored)


def _with_parameters(module: torch.nn.Module, path: str) -> Iterator[str]:
    for name, _ in module.named_parameters():
        yield f"{path}.{name}".rpartition(".")[0]


def _topmost(model: PreTrainedModel, new: set[str]) -> Iterator[str]:
    """The fewest modules that hold these and nothing else."""
    done: list[str] = []
    for path, module in model.named_modules():
        if not path or any(path.startswith(f"{above}.") for above in done):
            continue
        holders = set(_with_parameters(module, path))
        if holders and holders <= new:
            done.append(path)
            yield path
