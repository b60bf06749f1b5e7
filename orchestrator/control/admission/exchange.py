"""What a step costs beside computing: moving gradients and weights, and updating them.

Volumes are those of ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054, section 7) over rings, which
send (W-1)/W of what is gathered or scattered; nothing is taken to overlap with the computing.
Called by `duration`.
"""

from __future__ import annotations

from orchestrator.control.admission.memory import FP32, MemoryCase
from orchestrator.control.admission.throughput import Speed

_ADAM_MOMENTS = 2


def communication_seconds(case: MemoryCase, accumulation: int, speed: Speed) -> float:
    """Seconds a worker sends in one optimizer step."""
    share = (case.workers - 1) / case.workers
    return case.weight_bytes * share * _sent_elements(case, accumulation) / speed.link_bytes


def _sent_elements(case: MemoryCase, accumulation: int) -> int:
    """What goes around once, in weights.

    Without ZeRO and at stage 1 gradients wait until the step's last micro-batch; stages 2 and 3
    give each micro-batch's away at once, and stage 3 gathers weights for each way forth and back.
    """
    total, trained = case.model.total_parameters, case.model.trainable_parameters
    if case.strategy == "ddp" or case.zero_stage < 2:
        return 2 * trained
    if case.zero_stage == 2:
        return (accumulation + 1) * trained
    return accumulation * (2 * total + trained)


def update_seconds(case: MemoryCase, speed: Speed) -> float:
    """Seconds of AdamW, on the GPU or the CPU, wherever the optimizer's state is."""
    rate = speed.host_memory_bytes if _offloads(case) else speed.memory_bytes
    return update_bytes(_ADAM_MOMENTS) * _updated_elements(case) / rate


def update_bytes(moments: int) -> int:
    """Of a parameter: an optimizer reads its gradient, reads and writes weight and moments."""
    return FP32 * (3 + 2 * moments)


def offload_seconds(case: MemoryCase, accumulation: int, speed: Speed) -> float:
    """Seconds between GPU and host: gradients down, weights up; whole weights where they too are
    offloaded, each way forth and back."""
    if not _offloads(case):
        return 0.0
    elements = (accumulation + 1) * _updated_elements(case)
    if case.offload == "parameters":
        elements += 2 * accumulation * case.model.total_parameters // case.workers
    return case.weight_bytes * elements / speed.host_link_bytes


def _offloads(case: MemoryCase) -> bool:
    return case.on_gpu and case.offload != "none"


def _updated_elements(case: MemoryCase) -> int:
    sharded = case.strategy == "deepspeed" and case.zero_stage > 0
    trained = case.model.trainable_parameters
    return -(-trained // case.workers) if sharded else trained
