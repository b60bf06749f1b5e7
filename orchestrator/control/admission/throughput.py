"""How fast devices are: the figures behind every estimate of time, in one place.

GPU figures are the vendor's dense peaks (`inspect.accelerators`); what training reaches of them is
UTILIZATION. The CPU figures were measured with the encoder of the quickstart (docs/plan.md says
how).
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.control.admission.records import Precision
from orchestrator.inspect.accelerators import Accelerator, accelerator_of_device
from orchestrator.inspect.hardware import HardwareFacts

CPU_CORE_FLOPS = {"fp32": 60e9, "tf32": 60e9, "bf16": 100e9, "fp16": 60e9}
CPU_MEMORY_BYTES_PER_SECOND = 4e9  # of one core while it updates weights
CPU_LINK_BYTES_PER_SECOND = 0.5e9  # gloo within a machine

UTILIZATION = 0.35  # of the peak, at the batch sizes of fine-tuning
MEMORY_UTILIZATION = 0.7  # of a GPU's memory bandwidth, by AdamW
LINK_UTILIZATION = 0.7  # of a link's, by NCCL's rings

DISK_BYTES_PER_SECOND = 200e6
STORE_BYTES_PER_SECOND = 50e6
NODE_DISK_BYTES_PER_SECOND = 2e9  # NVMe of a machine with GPUs
NODE_STORE_BYTES_PER_SECOND = 1e9
HOST_MEMORY_BYTES_PER_SECOND = 25e9  # of one GPU's share of a host, for what is offloaded

_UNKNOWN_TFLOPS = {"fp32": 15.0, "tf32": 30.0, "bf16": 60.0, "fp16": 60.0}
_UNKNOWN_MEMORY_BYTES_PER_SECOND = 1e12
_UNKNOWN_LINK_BYTES_PER_SECOND = 10e9  # PCIe; NVLink is faster
_UNKNOWN_HOST_LINK_BYTES_PER_SECOND = 10e9


@dataclass(frozen=True, slots=True)
class Speed:
    """What one worker can do in a second; disk and store are the whole gang's."""

    flops: float
    memory_bytes: float
    link_bytes: float
    basis: str
    host_link_bytes: float = _UNKNOWN_HOST_LINK_BYTES_PER_SECOND
    host_memory_bytes: float = HOST_MEMORY_BYTES_PER_SECOND
    disk_bytes: float = DISK_BYTES_PER_SECOND
    store_bytes: float = STORE_BYTES_PER_SECOND


def worker_speed(
    hardware: HardwareFacts, precision: Precision, cpus_per_worker: int, on_gpu: bool
) -> Speed:
    """The speed of one worker of this machine; cores that do not exist add nothing."""
    if not on_gpu or not hardware.gpus:
        cores = min(cpus_per_worker, hardware.cpus)
        core = CPU_CORE_FLOPS[precision]
        return Speed(
            flops=cores * core,
            memory_bytes=CPU_MEMORY_BYTES_PER_SECOND,
            link_bytes=CPU_LINK_BYTES_PER_SECOND,
            basis=f"{core / 1e9:.0f} GFLOP/s on each of {cores} CPU cores a worker, {precision}",
        )
    name = hardware.gpus[0].name
    known = accelerator_of_device(name)
    if known is not None:
        return gpu_speed(known, precision, shown=name)
    peak = _UNKNOWN_TFLOPS[precision]
    return Speed(
        flops=peak * 1e12 * UTILIZATION,
        memory_bytes=_UNKNOWN_MEMORY_BYTES_PER_SECOND,
        link_bytes=_UNKNOWN_LINK_BYTES_PER_SECOND,
        basis=_basis(peak, name, precision),
    )


def gpu_speed(kind: Accelerator, precision: Precision, *, shown: str | None = None) -> Speed:
    """The speed of a worker on a GPU of the catalogue, among others of one machine.

    Torch computes fp32 as such: TF32 is off unless it is asked for.
    """
    peak = kind.teraflops.get(precision, kind.teraflops["fp32"])
    return Speed(
        flops=peak * 1e12 * UTILIZATION,
        memory_bytes=kind.memory_bandwidth * MEMORY_UTILIZATION,
        link_bytes=kind.link_bytes * LINK_UTILIZATION,
        basis=_basis(peak, shown or kind.name, precision),
        host_link_bytes=kind.around.host_link_bytes * LINK_UTILIZATION,
    )


def fleet_speed(kind: Accelerator, precision: Precision, nodes: int) -> Speed:
    """Of a worker among whole machines of such GPUs, each with disks and network of its own.

    NCCL's rings cross from machine to machine over all network cards at once, so that a ring is as
    fast as the slower of a GPU's link and a machine's whole network.
    """
    alone = gpu_speed(kind, precision)
    network = kind.around.network_bytes * LINK_UTILIZATION
    return Speed(
        flops=alone.flops,
        memory_bytes=alone.memory_bytes,
        link_bytes=alone.link_bytes if nodes == 1 else min(alone.link_bytes, network),
        basis=alone.basis,
        host_link_bytes=alone.host_link_bytes,
        disk_bytes=nodes * NODE_DISK_BYTES_PER_SECOND,
        store_bytes=nodes * NODE_STORE_BYTES_PER_SECOND,
    )


def _basis(peak: float, name: str, precision: Precision) -> str:
    return f"{UTILIZATION:.0%} of {peak:g} TFLOP/s ({name}, {precision})"
