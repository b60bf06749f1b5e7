"""What this machine has: the plan compares a job with it, `doctor` shows it.

In a container the machine is what its control group allows, not what the kernel sees.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from pydantic import Field

from orchestrator.inspect.facts import Facts
from orchestrator.records import Record

_GPU_FIELDS = ("index", "name", "memory.total", "memory.free", "compute_cap")
QUANTIZER = "bitsandbytes"
OPTIONAL_PACKAGES = (QUANTIZER,)
_GPU_TIMEOUT_SECONDS = 10.0
_MIB = 1 << 20
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 says "no limit" with a number near 2^63


class Gpu(Facts):
    """One NVIDIA GPU."""

    index: int
    name: str
    memory_bytes: int
    free_memory_bytes: int
    compute_capability: float = Field(description="8.0 and more can do bf16.")


class HardwareFacts(Record):
    """What a job can have here."""

    cpus: int
    memory_bytes: int
    available_memory_bytes: int = Field(description="Without what other processes hold now.")
    disk_path: str = Field(description="The existing folder whose file system was looked at.")
    disk_free_bytes: int
    shm_bytes: int = Field(description="Free in /dev/shm, where Ray keeps its objects.")
    gpus: tuple[Gpu, ...] = ()
    packages: tuple[str, ...] | None = Field(
        default=None, description="Optional Python packages that are installed; None: unknown."
    )


def inspect_hardware(
    disk_path: Path,
    *,
    cgroup_root: Path = Path("/sys/fs/cgroup"),
    query_gpus: Callable[[], str] | None = None,
) -> HardwareFacts:
    """Looks at this machine.

    Args:
        disk_path: Whose file system is looked at; it need not exist yet.
        cgroup_root: Where the limits of control groups are.
        query_gpus: Asks for GPUs, in the CSV of `nvidia-smi`; empty where there are none.
    """
    memory = psutil.virtual_memory()
    limit, used = _memory_limit(cgroup_root)
    total = min(memory.total, limit)
    wanted = disk_path.absolute()
    existing = next(path for path in (wanted, *wanted.parents) if path.exists())
    shm = Path("/dev/shm")
    return HardwareFacts(
        cpus=_cpus(cgroup_root),
        memory_bytes=total,
        available_memory_bytes=max(0, min(memory.available, total - used)),
        disk_path=str(existing),
        disk_free_bytes=shutil.disk_usage(existing).free,
        shm_bytes=shutil.disk_usage(shm).free if shm.is_dir() else 0,
        gpus=tuple(_gpus((query_gpus or _nvidia_smi)())),
        packages=tuple(name for name in OPTIONAL_PACKAGES if importlib.util.find_spec(name)),
    )


def _cpus(root: Path) -> int:
    """Cores this process may use; a quota of 1.5 counts as one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [math.floor(quota) for folder in _groups(root, "cpu") if (quota := _quota(folder))]
    return max(1, min([allowed or 1, *quotas]))


def _quota(folder: Path) -> float | None:
    """Cores a control group may use at once: version 2's file, then version 1's."""
    words = _read(folder / "cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return int(words[0]) / int(words[1])
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if quota and period and int(quota) > 0:
        return int(quota) / int(period)
    return None


def _memory_limit(root: Path) -> tuple[int, int]:
    """(limit, used) in bytes of the tightest control group this process is in."""
    tightest = (_UNLIMITED_BYTES, 0)
    for folder in _groups(root, "memory"):
        for limit_file, used_file, cache_field in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            text = _read(folder / limit_file)
            if text.isdecimal() and int(text) < tightest[0]:
                used = int(_read(folder / used_file) or 0)
                # Cached files are counted as used but are given up on demand.
                cached = _statistic(folder / "memory.stat", cache_field)
                tightest = (int(text), max(0, used - cached))
    return tightest


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's control group and its parents: each may limit it."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        own = top / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))
    yield root


def _statistic(path: Path, field: str) -> int:
    for line in _read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == field:
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _nvidia_smi() -> str:
    command = [
        "nvidia-smi",
        f"--query-gpu={','.join(_GPU_FIELDS)}",
        "--format=csv,noheader,nounits",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GPU_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _gpus(answer: str) -> Iterator[Gpu]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    allowed = None if visible is None else {word.strip() for word in visible.split(",")}
    for row in csv.reader(io.StringIO(answer), skipinitialspace=True):
        if len(row) != len(_GPU_FIELDS) or not row[0].isdecimal() or not row[2].isdecimal():
            continue  # a GPU that does not tell its memory (MIG's parent) cannot be planned for
        if allowed is not None and not any(row[0] == a or a.startswith("GPU-") for a in allowed):
            continue
        free = int(row[3]) if row[3].isdecimal() else int(row[2])
        yield Gpu(
            index=int(row[0]),
            name=row[1],
            memory_bytes=int(row[2]) * _MIB,
            free_memory_bytes=free * _MIB,
            compute_capability=_number(row[4]),
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
