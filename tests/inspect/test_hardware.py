from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from orchestrator.inspect.hardware import HardwareFacts, inspect_hardware

NO_GPU = ""


def look(cgroup: Path, gpus: str = NO_GPU) -> HardwareFacts:
    return inspect_hardware(Path("/"), cgroup_root=cgroup, query_gpus=lambda: gpus)


def test_without_limits_it_is_the_whole_machine(tmp_path: Path) -> None:
    facts = look(tmp_path)

    assert facts.memory_bytes == psutil.virtual_memory().total
    assert 0 < facts.available_memory_bytes <= facts.memory_bytes
    assert facts.cpus == len(os.sched_getaffinity(0))
    assert facts.disk_free_bytes > 0
    assert facts.gpus == ()


def test_memory_limit_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text("anon 1200000000\ninactive_file 300000000\n")

    facts = look(tmp_path)

    assert facts.memory_bytes == 2_000_000_000
    # Cached files count as used, and are given up on demand.
    assert facts.available_memory_bytes == 2_000_000_000 - (1_500_000_000 - 300_000_000)


def test_unlimited_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")

    facts = look(tmp_path)

    assert facts.memory_bytes == psutil.virtual_memory().total
    assert facts.cpus == len(os.sched_getaffinity(0))


def test_memory_limit_in_version_1(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory.limit_in_bytes").write_text("1000000000")
    (tmp_path / "memory.usage_in_bytes").write_text("400000000")
    (tmp_path / "memory.stat").write_text("total_inactive_file 100000000")

    facts = look(tmp_path)

    assert (facts.memory_bytes, facts.available_memory_bytes) == (1_000_000_000, 700_000_000)


@pytest.mark.parametrize(("quota", "cpus"), [("100000 100000", 1), ("150000 100000", 1)])
def test_cpu_quota(tmp_path: Path, quota: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)

    assert look(tmp_path).cpus == cpus


def test_a_quota_below_one_core_leaves_one(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000")

    assert look(tmp_path).cpus == 1


def test_cpu_quota_in_version_1(tmp_path: Path) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu.cfs_period_us").write_text("100000")

    assert look(tmp_path).cpus == 1


def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    answer = (
        "0, NVIDIA A100-SXM4-80GB, 81920, 81000, 8.0\n"
        "1, Tesla V100-SXM2-16GB, 16384, 16000, 7.0\n"
        "2, NVIDIA H100 MIG, [N/A], [N/A], 9.0\n"
    )
    first, second = look(tmp_path, answer).gpus

    assert (first.index, first.name) == (0, "NVIDIA A100-SXM4-80GB")
    assert first.memory_bytes == 81920 * 1024**2
    assert first.free_memory_bytes == 81000 * 1024**2
    assert (first.compute_capability, second.compute_capability) == (8.0, 7.0)


def test_hidden_gpus_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "0, A, 1000, 900, 8.0\n1, B, 1000, 900, 8.0\n"

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu.name for gpu in look(tmp_path, answer).gpus] == ["B"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert look(tmp_path, answer).gpus == ()


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    facts = inspect_hardware(tmp_path / "a/b", cgroup_root=tmp_path, query_gpus=lambda: NO_GPU)

    assert facts.disk_path == str(tmp_path)


def test_no_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert inspect_hardware(Path("/"), cgroup_root=tmp_path).gpus == ()


def test_nvidia_smi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    command = tmp_path / "nvidia-smi"
    command.write_text('#!/bin/sh\necho "0, NVIDIA L4, 23034, 22000, 8.9"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    (gpu,) = inspect_hardware(Path("/"), cgroup_root=tmp_path).gpus
    assert (gpu.name, gpu.memory_bytes) == ("NVIDIA L4", 23034 * 1024**2)
