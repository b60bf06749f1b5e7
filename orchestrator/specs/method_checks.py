"""Contradictions within `method`, and between it and the engine; part of `specs.checks`.

Whether a base has the modules that are named is told by `inspect.adapters`, which has seen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.finetune import FineTune
from orchestrator.specs.method import AdapterMethod, FreezeMethod, QloraMethod
from orchestrator.specs.task import CustomTask


def _done_by_script(spec: FineTune) -> Iterator[Problem]:
    if isinstance(spec.spec.task, CustomTask) and isinstance(spec.spec.method, AdapterMethod):
        message = f"a custom task's script decides what learns, so {spec.spec.method.type} would "
        yield Problem(
            message + "never be applied",
            path="method",
            hint="remove it, and do it in the script",
        )


def _modules(spec: FineTune) -> Iterator[Problem]:
    method = spec.spec.method
    if not isinstance(method, AdapterMethod):
        return
    listed = {
        "target_modules": method.target_modules or (),
        "modules_to_save": method.modules_to_save,
    }
    for field, names in listed.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                path = f"method.{field}[{index}]"
                yield Problem(f"'{name}' is listed twice", path=path, hint="remove one")
    for index, name in enumerate(method.modules_to_save):
        if name in listed["target_modules"]:
            yield Problem(
                f"'{name}' cannot learn whole and get an update too",
                path=f"method.modules_to_save[{index}]",
                hint="remove it here or from method.target_modules",
            )


def _quantized(spec: FineTune) -> Iterator[Problem]:
    """What 4-bit weights cannot do: run on a CPU, or be sharded or moved by DeepSpeed."""
    if not isinstance(spec.spec.method, QloraMethod):
        return
    engine = spec.spec.engine
    if spec.spec.resources.gpus_per_worker == 0:
        yield Problem(
            "4-bit weights need GPUs, and resources.gpus_per_worker is 0",
            path="method.type",
            hint="write type: lora, or give each worker a GPU",
        )
    if engine.zero_stage == 3:
        yield Problem(
            "ZeRO 3 cannot shard 4-bit weights",
            path="engine.zero_stage",
            hint="write engine.zero_stage: 2, or method.type: lora",
        )
    if engine.offload == "parameters":
        yield Problem(
            "4-bit weights cannot be moved to host memory",
            path="engine.offload",
            hint="write engine.offload: optimizer, or method.type: lora",
        )


def _layer_decay(spec: FineTune) -> Iterator[Problem]:
    """Rates by layer need layers that learn."""
    method = spec.spec.method
    if spec.spec.training.layer_decay is None:
        return
    if isinstance(method, AdapterMethod):
        message = f"the matrices of {method.type} all learn at training.learning_rate"
    elif isinstance(method, FreezeMethod) and method.all_layers:
        message = "no layer learns, the head does alone (method.all_layers)"
    else:
        return
    hint = "remove it, or write method.type: full"
    yield Problem(message, path="training.layer_decay", hint=hint)


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("method.type", "task.type"), _done_by_script),
    (("method.type", "method.target_modules", "method.modules_to_save"), _modules),
    (("method.type", "engine", "resources.gpus_per_worker"), _quantized),
    (("method", "training.layer_decay"), _layer_decay),
)
