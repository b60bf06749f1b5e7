from __future__ import annotations

from itertools import pairwise

import pytest

from orchestrator.errors import UserError
from orchestrator.inspect.accelerators import (
    ACCELERATORS,
    accelerator,
    accelerator_of_device,
)
from orchestrator.inspect.fleets import parse_fleets
from tests.project import ROOT

# The catalogue


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("h100", "H100"),
        ("NVIDIA-H100-80GB", "H100"),
        ("a100", "A100-40GB"),  # the smaller: what fits there fits the larger one too
        ("A100_80gb", "A100-80GB"),
        ("RTX4090", "RTX-4090"),
        ("l40s", "L40S"),
    ],
)
def test_names_and_aliases(name: str, entry: str) -> None:
    found = accelerator(name)

    assert found is not None
    assert found.name == entry


@pytest.mark.parametrize(
    ("device", "entry"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100-16GB"),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_what_the_driver_calls_them(device: str, entry: str | None) -> None:
    found = accelerator_of_device(device)

    assert (found.name if found else None) == entry


def test_the_documents_name_every_gpu() -> None:
    page = (ROOT / "docs/plan.md").read_text()

    assert [entry.name for entry in ACCELERATORS if entry.name not in page] == []


def test_no_name_stands_for_two() -> None:
    names = [name.lower() for entry in ACCELERATORS for name in (entry.name, *entry.aliases)]

    assert len(names) == len(set(names))


def test_figures_are_of_the_right_size() -> None:
    """A slip of a digit or a unit would stand out."""
    for entry in ACCELERATORS:
        assert 15e9 < entry.memory_bytes < 200e9
        assert 200e9 < entry.memory_bandwidth <= 8e12
        assert 10e9 < entry.link_bytes <= 900e9
        assert entry.teraflops["fp32"] < entry.teraflops["fp16"] <= 2250
        # What bf16 needs is what compute capability 8.0 brought.
        assert ("bf16" in entry.teraflops) == (entry.compute_capability >= 8.0)
        assert entry.around.host_memory_bytes >= entry.memory_bytes / 1.5
        if "tf32" in entry.teraflops:
            assert entry.teraflops["tf32"] <= entry.teraflops["bf16"] / 1.9


def test_newer_datacenter_gpus_do_more() -> None:
    line = [accelerator(name) for name in ("V100", "A100-80GB", "H100", "H200", "B200")]
    for older, newer in pairwise(line):
        assert older is not None
        assert newer is not None
        assert older.memory_bandwidth < newer.memory_bandwidth
        assert older.teraflops["fp16"] <= newer.teraflops["fp16"]


# Expressions


@pytest.mark.parametrize(
    ("text", "nodes", "gpus", "name"),
    [
        ("H100", 1, 1, "1xH100"),
        ("8xH100", 1, 8, "8xH100"),
        ("8 x h100", 1, 8, "8xH100"),
        ("8×H100", 1, 8, "8xH100"),
        ("2x8xA100-80GB", 2, 8, "2x8xA100-80GB"),
        ("16xH100", 2, 8, "2x8xH100"),  # a machine holds eight
        ("1xL4", 1, 1, "1xL4"),
        ("4xRTX-4090", 1, 4, "4xRTX-4090"),
    ],
)
def test_expressions(text: str, nodes: int, gpus: int, name: str) -> None:
    (fleet,) = parse_fleets([text])

    assert (fleet.nodes, fleet.gpus_per_node, fleet.name) == (nodes, gpus, name)
    assert fleet.num_gpus == nodes * gpus


def test_several_at_once() -> None:
    found = parse_fleets(["8xH100, 4xL4", "2x8xH200", "8xH100"])

    assert [fleet.name for fleet in found] == ["8xH100", "4xL4", "2x8xH200"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("8xH1000", "no GPU 'H1000' is known", "did you mean H100"),
        ("8xTPU-v5e", "no GPU 'TPU-v5e' is known", "known are T4, V100-16GB"),
        ("0xH100", "that is nothing", "8xH100"),
        ("8x", "no GPU '8x' is known", "known are"),
        ("12xH100", "a machine holds at most 8 H100, not 12", "write 2x6xH100"),
        ("2x16xH100", "a machine holds at most 8 H100, not 16", "write 4x8xH100"),
        ("11xH100", "a machine holds at most 8 H100, not 11", "write a multiple of 8"),
        ("99999x8xH100", "at most 10,000 nodes", ""),
        ("", "names none", "8xH100"),
        (" , ", "names none", "8xH100"),
    ],
)
def test_what_is_not_understood(text: str, message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_fleets([text])

    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2


def test_a_node_as_if_it_had_been_looked_at() -> None:
    (fleet,) = parse_fleets(["2x8xH100"])
    node = fleet.node

    assert len(node.gpus) == 8
    assert node.gpus[0].memory_bytes == 81559 * 2**20
    assert (node.cpus, node.memory_bytes) == (112, 2048 * 2**30)
