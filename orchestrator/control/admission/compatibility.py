"""Which features go together, as data: one row a combination that cannot work or makes no sense.

What only the spec's own text decides is refused earlier, by `specs.checks`; here the machine is
known too. Called by `plan`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.control.admission.records import PlanReason
from orchestrator.inspect.architectures import can_pack
from orchestrator.inspect.hardware import QUANTIZER, HardwareFacts
from orchestrator.specs import AdapterMethod, FineTuneSpec, MethodSpec

BF16_CAPABILITY = 8.0  # Ampere and later


@dataclass(frozen=True, slots=True)
class Features:
    """What a job combines."""

    task: str
    method: str
    strategy: str
    zero_stage: int
    precision: str
    offload: str
    device: str  # cpu, gpu, or old_gpu: one that cannot do bf16
    gang: str  # one, or many
    published: str = "whole"  # or adapter, or merged
    batches: str = "padded"  # or packed
    positions: str = "given"  # to the model with each token; or counted by the model itself
    quantizer: str = "unknown"  # whether bitsandbytes is installed: present, absent or unknown


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination: features that must all hold, and what follows."""

    when: dict[str, frozenset[object]]
    path: str
    message: str
    change: str
    refuses: bool = True
    of_machine: bool = False  # another machine may do it

    def applies(self, features: Features) -> bool:
        return all(getattr(features, name) in values for name, values in self.when.items())


def _any(*values: object) -> frozenset[object]:
    return frozenset(values)


RULES: tuple[Rule, ...] = (
    Rule(
        when={"precision": _any("fp16"), "device": _any("cpu")},
        path="training.precision",
        message="fp16 needs GPUs: on CPUs it is not implemented",
        change="write fp32 or bf16",
    ),
    Rule(
        when={"precision": _any("tf32"), "device": _any("cpu")},
        path="training.precision",
        message="tf32 is arithmetic of GPUs",
        change="write fp32 or bf16",
    ),
    Rule(
        when={"precision": _any("bf16", "tf32"), "device": _any("old_gpu")},
        path="training.precision",
        message="the GPUs here are older than bf16 and tf32 (compute capability below 8.0)",
        change="write fp16 or fp32",
    ),
    Rule(
        when={"offload": _any("optimizer", "parameters"), "device": _any("cpu")},
        path="engine.offload",
        message="without a GPU everything is in host memory already: offloading saves nothing",
        change="remove it",
        refuses=False,
    ),
    Rule(
        when={"batches": _any("packed"), "positions": _any("counted")},
        path="training.batching.packing",
        message="this kind of model cannot tell rows apart that lie side by side",
        change="write group_by_length: true instead",
    ),
    Rule(
        when={"method": _any("qlora"), "device": _any("cpu")},
        path="method.type",
        message="4-bit weights need GPUs",
        change="write method.type: lora, or resources.gpus_per_worker: 1",
    ),
    Rule(
        when={"method": _any("qlora"), "quantizer": _any("absent")},
        path="method.type",
        message="4-bit weights need the package bitsandbytes, which is not installed here",
        change="pip install bitsandbytes, or write method.type: lora",
        of_machine=True,
    ),
    Rule(
        when={"method": _any("qlora"), "published": _any("merged")},
        path="method.merge",
        message="merged weights are evaluated whole, not in 4 bits: the GPU must hold them",
        change="remove it to publish the adapter",
        refuses=False,
    ),
    Rule(
        when={"method": _any("qlora"), "zero_stage": _any(3)},
        path="engine.zero_stage",
        message="ZeRO 3 cannot shard 4-bit weights",
        change="write engine.zero_stage: 2",
    ),
    Rule(
        when={"method": _any("qlora"), "offload": _any("parameters")},
        path="engine.offload",
        message="4-bit weights cannot be moved to host memory",
        change="write engine.offload: optimizer",
    ),
    Rule(
        when={
            "strategy": _any("deepspeed"),
            "zero_stage": _any(1, 2, 3),
            "gang": _any("one"),
            "offload": _any("none"),
        },
        path="engine.zero_stage",
        message="one worker has nothing to shard with: ZeRO only costs memory and time",
        change="write engine.zero_stage: 0, or resources.workers: 2",
        refuses=False,
    ),
)


def features_of(
    spec: FineTuneSpec, hardware: HardwareFacts, model_type: str | None = None
) -> Features:
    """What a resolved spec combines on this machine, with a kind of base where it is known."""
    engine = spec.engine
    device = "cpu"
    if spec.resources.gpus_per_worker:
        capable = all(gpu.compute_capability >= BF16_CAPABILITY for gpu in hardware.gpus)
        device = "gpu" if capable else "old_gpu"
    return Features(
        task=spec.task.type,
        method=spec.method.type,
        strategy=engine.strategy,
        zero_stage=engine.zero_stage or 0,
        precision=spec.training.precision,
        offload=engine.offload or "none",
        device=device,
        gang="one" if spec.resources.workers == 1 else "many",
        published=_published(spec.method),
        batches="packed" if spec.training.packs else "padded",
        positions="counted" if _counts(spec, model_type) else "given",
        quantizer=_quantizer(hardware),
    )


def incompatibilities(features: Features) -> Iterator[PlanReason]:
    """Combinations that cannot work."""
    for rule in RULES:
        if rule.refuses and rule.applies(features):
            yield PlanReason(
                path=rule.path,
                message=rule.message,
                change=rule.change,
                of_machine=rule.of_machine or features.device == "old_gpu",
            )


def doubts(features: Features) -> Iterator[str]:
    """Combinations that work and make no sense."""
    for rule in RULES:
        if not rule.refuses and rule.applies(features):
            yield f"{rule.path}: {rule.message} ({rule.change})"


def _published(method: MethodSpec) -> str:
    if not isinstance(method, AdapterMethod):
        return "whole"
    return "merged" if method.merge else "adapter"


def _counts(spec: FineTuneSpec, model_type: str | None) -> bool:
    return model_type is not None and not can_pack(spec.task.type, model_type)


def _quantizer(hardware: HardwareFacts) -> str:
    if hardware.packages is None:
        return "unknown"
    return "present" if QUANTIZER in hardware.packages else "absent"
