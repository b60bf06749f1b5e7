"""The catalogue of GPUs: what each can hold and do, so that a plan can be made for one that is not
here. Called by `inspect.fleets`, and by admission for the speed of the GPUs that are here.

Sources, by the names of the vendor's data sheets and papers (nvidia.com, "Resources" of each
product); peaks are without sparsity, which the sheets often include:

- T4: "NVIDIA T4 70W low profile PCIe GPU accelerator" (datasheet, 2019).
- V100: "NVIDIA V100 Tensor Core GPU" (datasheet, 2020), SXM2.
- A100: "NVIDIA A100 Tensor Core GPU" (datasheet, 2021), SXM.
- A10, A30, A40, RTX A6000: their datasheets (2021 to 2022). A10G: "NVIDIA A10G" (AWS, 2022).
- RTX 3090: "NVIDIA Ampere GA102 GPU architecture" (whitepaper, 2021), tensor peak with fp32
  accumulation. RTX 4090: "NVIDIA Ada GPU architecture" (whitepaper, 2022), likewise.
- L4, L40, L40S: their datasheets (2023).
- H100 SXM, PCIe and NVL: "NVIDIA H100 Tensor Core GPU" (datasheet, 2022 to 2024).
- H200 SXM: "NVIDIA H200 Tensor Core GPU" (datasheet, 2024).
- B200: "NVIDIA DGX B200" and "NVIDIA HGX B200" (datasheets, 2024), an eighth of the system.

Memory is what the driver offers (`memory.total` of nvidia-smi): the sheets' GB are 2^30 bytes for
some and less for boards whose error correction takes a share. What surrounds a GPU is an eighth of
the machine it is usually rented in: DGX-1, DGX A100, H100, H200 and B200 by their datasheets; of
the others the largest instance of AWS (g4dn, g5, g6, g6e.48xlarge: docs.aws.amazon.com/ec2) or a
workstation. A link's figure is one direction of what the sheet calls bidirectional bandwidth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Arithmetic = Literal["fp32", "tf32", "bf16", "fp16"]

_MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the machine of a GPU gives it: its share of host memory and cores, and the wires."""

    host_memory_bytes: int
    cpus: int
    host_link_bytes: float  # a second, one way, between GPU and host (PCIe)
    network_bytes: float  # a second, one way, of the whole machine to others
    most_per_node: int = 8


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One GPU of the catalogue."""

    name: str
    memory_bytes: int
    teraflops: Mapping[Arithmetic, float]  # dense peaks; what it cannot do is absent
    memory_bandwidth: float  # bytes a second
    link_bytes: float  # a second, one way, to the other GPUs of its machine
    compute_capability: float
    around: Surroundings
    marks: tuple[str, ...]  # words that nvidia-smi's name of it has
    aliases: tuple[str, ...] = ()


_PCIE_3, _PCIE_4, _PCIE_5 = 16e9, 32e9, 64e9  # one way over 16 lanes
_GBIT = 1e9 / 8

_DGX_1 = Surroundings(64 * _GIB, 10, _PCIE_3, 400 * _GBIT)
_DGX_A100 = Surroundings(256 * _GIB, 16, _PCIE_4, 1600 * _GBIT)
_DGX_A100_40 = Surroundings(128 * _GIB, 16, _PCIE_4, 1600 * _GBIT)
_DGX_H100 = Surroundings(256 * _GIB, 14, _PCIE_5, 3200 * _GBIT)
_PCIE_SERVER = Surroundings(128 * _GIB, 12, _PCIE_5, 400 * _GBIT)
_G4DN = Surroundings(48 * _GIB, 12, _PCIE_3, 100 * _GBIT)
_G5 = Surroundings(96 * _GIB, 24, _PCIE_4, 100 * _GBIT)
_G6E = Surroundings(192 * _GIB, 24, _PCIE_4, 400 * _GBIT)
_WORKSTATION = Surroundings(64 * _GIB, 16, _PCIE_4, 10 * _GBIT, most_per_node=4)


def _peaks(fp32: float, tf32: float, half: float) -> dict[Arithmetic, float]:
    return {"fp32": fp32, "tf32": tf32, "bf16": half, "fp16": half}


ACCELERATORS: tuple[Accelerator, ...] = (
    Accelerator("T4", 15360 * _MIB, {"fp32": 8.1, "fp16": 65.0}, 320e9, _PCIE_3, 7.5, _G4DN,
        ("T4",)),
    Accelerator("V100-16GB", 16384 * _MIB, {"fp32": 15.7, "fp16": 125.0}, 900e9, 150e9, 7.0,
        _DGX_1, ("V100", "16GB"), ("V100",)),
    Accelerator("V100-32GB", 32768 * _MIB, {"fp32": 15.7, "fp16": 125.0}, 900e9, 150e9, 7.0,
        _DGX_1, ("V100", "32GB")),
    Accelerator("A10", 23028 * _MIB, _peaks(31.2, 62.5, 125.0), 600e9, _PCIE_4, 8.6, _G5,
        ("A10",)),
    Accelerator("A10G", 23028 * _MIB, _peaks(35.0, 35.0, 70.0), 600e9, _PCIE_4, 8.6, _G5,
        ("A10G",)),
    Accelerator("A30", 24576 * _MIB, _peaks(10.3, 82.0, 165.0), 933e9, _PCIE_4, 8.0, _G5,
        ("A30",)),
    Accelerator("A40", 46068 * _MIB, _peaks(37.4, 74.8, 149.7), 696e9, _PCIE_4, 8.6, _G5,
        ("A40",)),
    Accelerator("RTX-A6000", 49140 * _MIB, _peaks(38.7, 77.4, 154.8), 768e9, _PCIE_4, 8.6,
        _WORKSTATION, ("A6000",), ("A6000",)),
    Accelerator("RTX-3090", 24576 * _MIB, _peaks(35.6, 35.6, 71.0), 936e9, _PCIE_4, 8.6,
        _WORKSTATION, ("RTX", "3090"), ("3090", "RTX3090")),
    Accelerator("RTX-4090", 24564 * _MIB, _peaks(82.6, 82.6, 165.2), 1008e9, _PCIE_4, 8.9,
        _WORKSTATION, ("RTX", "4090"), ("4090", "RTX4090")),
    Accelerator("L4", 23034 * _MIB, _peaks(30.3, 60.0, 121.0), 300e9, _PCIE_4, 8.9,
        Surroundings(96 * _GIB, 24, _PCIE_4, 100 * _GBIT), ("L4",)),
    Accelerator("L40", 46068 * _MIB, _peaks(90.5, 90.5, 181.0), 864e9, _PCIE_4, 8.9, _G6E,
        ("L40",)),
    Accelerator("L40S", 46068 * _MIB, _peaks(91.6, 183.0, 362.0), 864e9, _PCIE_4, 8.9, _G6E,
        ("L40S",)),
    Accelerator("A100-40GB", 40960 * _MIB, _peaks(19.5, 156.0, 312.0), 1555e9, 300e9, 8.0,
        _DGX_A100_40, ("A100", "40GB"), ("A100",)),
    Accelerator("A100-80GB", 81920 * _MIB, _peaks(19.5, 156.0, 312.0), 2039e9, 300e9, 8.0,
        _DGX_A100, ("A100", "80GB")),
    Accelerator("H100-PCIe", 81559 * _MIB, _peaks(51.0, 378.0, 756.0), 2000e9, _PCIE_5, 9.0,
        _PCIE_SERVER, ("H100", "PCIe")),
    Accelerator("H100-NVL", 95830 * _MIB, _peaks(60.0, 417.5, 835.5), 3900e9, _PCIE_5, 9.0,
        _PCIE_SERVER, ("H100", "NVL")),
    Accelerator("H100", 81559 * _MIB, _peaks(67.0, 494.7, 989.4), 3350e9, 450e9, 9.0, _DGX_H100,
        ("H100",), ("H100-80GB", "H100-SXM")),
    Accelerator("H200", 143771 * _MIB, _peaks(67.0, 494.7, 989.4), 4800e9, 450e9, 9.0, _DGX_H100,
        ("H200",), ("H200-141GB", "H200-SXM")),
    Accelerator("B200", 183359 * _MIB, _peaks(75.0, 1100.0, 2250.0), 8000e9, 900e9, 10.0,
        _DGX_H100, ("B200",), ("B200-180GB",)),
)  # fmt: skip
"""Oldest first."""


def accelerator(name: str) -> Accelerator | None:
    """By its name or an alias, whatever the case."""
    wanted = name.strip().lower().replace("_", "-").removeprefix("nvidia-")
    for entry in ACCELERATORS:
        if wanted in (known.lower() for known in (entry.name, *entry.aliases)):
            return entry
    return None


def accelerator_of_device(device: str) -> Accelerator | None:
    """The entry of what nvidia-smi calls `NVIDIA A100-SXM4-80GB`; the one that says most of it."""
    words = {word.lower() for word in re.split(r"[^0-9A-Za-z]+", device)}
    fitting = [
        entry for entry in ACCELERATORS if all(mark.lower() in words for mark in entry.marks)
    ]
    return max(fitting, key=lambda entry: len(entry.marks), default=None)
