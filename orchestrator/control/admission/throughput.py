"""How fast devices are: the figures behind every estimate of time, in one place.

GPU figures are the vendor's dense peaks in TFLOP/s; what training reaches of them is UTILIZATION.
The CPU figures were measured with the encoder of the quickstart (docs/plan.md says how).
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.control.admission.records import Precision
from orchestrator.inspect.hardware import HardwareFacts

CPU_CORE_FLOPS = {"fp32": 60e9, "bf16": 100e9, "fp16": 60e9}
CPU_MEMORY_BYTES_PER_SECOND = 4e9  # of one core while it updates weights
CPU_LINK_BYTES_PER_SECOND = 0.5e9  # gloo within a machine

UTILIZATION = 0.35  # of the peak, at the batch sizes of fine-tuning
GPU_MEMORY_BYTES_PER_SECOND = 1e12
GPU_LINK_BYTES_PER_SECOND = 10e9  # PCIe; NVLink is faster

DISK_BYTES_PER_SECOND = 200e6
STORE_BYTES_PER_SECOND = 50e6

_GPU_TFLOPS: dict[str, tuple[float, float]] = {  # name's part -> (fp32 or TF32, half precision)
    "B200": (1100.0, 2250.0),
    "H200": (494.0, 989.0),
    "H100": (494.0, 989.0),
    "A100": (156.0, 312.0),
    "L40": (90.0, 181.0),
    "A40": (74.0, 149.0),
    "A10": (62.0, 125.0),
    "L4": (60.0, 121.0),
    "RTX 4090": (82.0, 165.0),
    "RTX 3090": (35.0, 71.0),
    "V100": (15.7, 112.0),
    "T4": (8.1, 65.0),
}
_UNKNOWN_GPU = (15.0, 60.0)


@dataclass(frozen=True, slots=True)
class Speed:
    """What one worker can do in a second."""

    flops: float
    memory_bytes: float
    link_bytes: float
    basis: str


def worker_speed(
    hardware: HardwareFacts, precision: Precision, cpus_per_worker: int, on_gpu: bool
) -> Speed:
    """The speed of one worker; cores that do not exist add nothing."""
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
    peaks = next((peaks for part, peaks in _GPU_TFLOPS.items() if part in name), _UNKNOWN_GPU)
    peak = peaks[0] if precision == "fp32" else peaks[1]
    return Speed(
        flops=peak * 1e12 * UTILIZATION,
        memory_bytes=GPU_MEMORY_BYTES_PER_SECOND,
        link_bytes=GPU_LINK_BYTES_PER_SECOND,
        basis=f"{UTILIZATION:.0%} of the {peak:.0f} TFLOP/s of a {name}, {precision}",
    )
