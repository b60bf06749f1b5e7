"""Facts about adapters: what a published one is, and where a base takes a new one. No torch.

Called by `inspect.model` for checks, by `storage.bases` to go on with an adapter, and by admission,
which counts what learns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.facts import Facts
from orchestrator.inspect.modules import TensorGroup
from orchestrator.inspect.safetensors import BASE
from orchestrator.specs import AdapterMethod, FineTuneSpec, MethodSpec
from orchestrator.specs.suggest import closest

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_FILE = "adapter_model.safetensors"


class AdapterFacts(Facts):
    """What kind of update an adapter is: going on with it keeps all of this."""

    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    modules_to_save: tuple[str, ...] = Field(description="Modules that it holds whole.")
    use_dora: bool = False
    use_rslora: bool = False


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and not a whole model."""
    return (folder / ADAPTER_CONFIG_FILE).is_file()


def read_adapter(folder: Path) -> AdapterFacts:
    """The facts of an adapter's folder; raises InvalidInput where it is not a LoRA of ours."""
    try:
        config = json.loads((folder / ADAPTER_CONFIG_FILE).read_bytes())
        facts = _facts(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{folder / ADAPTER_CONFIG_FILE} is not an adapter's config: {error}"
        raise InvalidInput([Problem(message, path=BASE, hint="pull or publish it again")]) from None
    if config.get("peft_type") != "LORA" or not (folder / ADAPTER_FILE).is_file():
        message = f"{folder} holds no LoRA adapter in {ADAPTER_FILE}"
        hint = "only LoRA adapters that were published here can be trained further"
        raise InvalidInput([Problem(message, path=BASE, hint=hint)])
    return facts


def _facts(config: dict[str, Any]) -> AdapterFacts:
    targets = config["target_modules"]
    if not isinstance(targets, list):
        raise TypeError("its target_modules are a pattern, not a list of names")
    return AdapterFacts(
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        target_modules=tuple(sorted(map(str, targets))),
        modules_to_save=tuple(sorted(map(str, config.get("modules_to_save") or ()))),
        use_dora=bool(config.get("use_dora")),
        use_rslora=bool(config.get("use_rslora")),
    )


def promised_adapter(method: MethodSpec) -> AdapterFacts | None:
    """The adapter that a job of a resolved method will publish; None where it will be whole."""
    if not isinstance(method, AdapterMethod) or method.merge:
        return None
    assert method.rank is not None, "a resolved method has a rank"
    assert method.alpha is not None
    return AdapterFacts(
        rank=method.rank,
        alpha=method.alpha,
        target_modules=method.target_modules or (),
        modules_to_save=method.modules_to_save,
        use_dora=bool(method.use_dora),
        use_rslora=bool(method.use_rslora),
    )


def names(module: str, path: str) -> bool:
    """Whether a name in a spec means the module at `path`: its whole path, or the end of it."""
    return path == module or path.endswith(f".{module}")


def targeted(tensors: Sequence[TensorGroup], targets: Sequence[str]) -> list[TensorGroup]:
    """The weights beside which updates learn."""
    return [
        group
        for group in tensors
        if _is_linear(group) and any(names(target, group.module) for target in targets)
    ]


def saved_whole(tensors: Sequence[TensorGroup], modules: Sequence[str]) -> list[TensorGroup]:
    """The parameters of modules that learn whole, and of all that is in them."""
    return [
        group for group in tensors if any(f".{module}." in f".{group.name}" for module in modules)
    ]


def default_targets(tensors: Sequence[TensorGroup]) -> tuple[str, ...]:
    """Every linear module of the layers, as its architecture names it.

    All of them and not attention alone: Dettmers et al. 2023 (arXiv:2305.14314), section 4, find
    that only then an adapter learns as well as full fine-tuning.
    """
    return tuple(sorted({group.module for group in tensors if group.is_projection}))


def adapter_problems(
    tensors: Sequence[TensorGroup], adapter: AdapterFacts | None, spec: FineTuneSpec
) -> Iterator[Problem]:
    """What keeps `method` from being applied to a base of these tensors."""
    method = spec.method
    if not isinstance(method, AdapterMethod) or not tensors:
        return
    if adapter is not None:
        yield from _other_kind(method, adapter)
        return
    if method.target_modules is None and not default_targets(tensors):
        yield Problem(
            "the base has no linear modules in its layers to put updates beside",
            path="method.target_modules",
            hint="choose another base, or method.type: full",
        )
    linear = sorted({group.module for group in tensors if _is_linear(group)})
    for index, target in enumerate(method.target_modules or ()):
        if not targeted(tensors, (target,)):
            yield _unknown(f"method.target_modules[{index}]", target, linear, "linear module")
    modules = sorted({group.module for group in tensors})
    for index, module in enumerate(method.modules_to_save):
        if not saved_whole(tensors, (module,)):
            yield _unknown(f"method.modules_to_save[{index}]", module, modules, "module")


def _is_linear(group: TensorGroup) -> bool:
    """Also outside the layers: a pooler may be named, embeddings may not."""
    return group.is_projection or (
        not group.in_layers
        and len(group.shape) == 2
        and group.name.endswith(".weight")
        and "embed" not in group.name
        and group.module.rpartition(".")[2] not in ("wte", "wpe", "shared")
    )


def _unknown(path: str, name: str, known: Sequence[str], what: str) -> Problem:
    ends = sorted({module.rpartition(".")[2] for module in known} | set(known))
    near = closest(name, ends)
    hint = f"did you mean {near}? " if near else ""
    return Problem(
        f"the base has no {what} '{name}'",
        path=path,
        hint=f"{hint}it has {', '.join(known[:20])}",
    )


def _other_kind(method: AdapterMethod, adapter: AdapterFacts) -> Iterator[Problem]:
    """An adapter that is trained further keeps its kind: its weights fit no other."""
    for field in ("rank", "alpha", "use_dora", "use_rslora"):
        asked, has = getattr(method, field), getattr(adapter, field)
        if asked is not None and asked != has:
            yield _kept(field, _shown(asked), _shown(has))
    asked_targets = method.target_modules
    if asked_targets is not None and set(asked_targets) != set(adapter.target_modules):
        yield _kept("target_modules", ", ".join(asked_targets), ", ".join(adapter.target_modules))
    for module in method.modules_to_save:
        if module not in adapter.modules_to_save:
            yield _kept("modules_to_save", module, ", ".join(adapter.modules_to_save) or "none")


def _kept(field: str, asked: str, has: str) -> Problem:
    return Problem(
        f"the base is an adapter with {field} {has}, and going on with it keeps that, not {asked}",
        path=f"method.{field}",
        hint="remove the field, or publish the adapter with method.merge: true and start from that",
    )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
